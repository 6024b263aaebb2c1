package queue

import (
	"cmp"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// State is the state of an item.
type State string

// The states of an item.
const (
	Pending State = "pending" // the item may be claimed
	Delayed State = "delayed" // the item may be claimed later
	Claimed State = "claimed" // a worker has the item, as far as this peer knows
	Done    State = "done"    // the item's result is kept for a while, and its id is taken
	Dead    State = "dead"    // the item failed too often; it stays until Requeue or Purge
)

// entry is a peer's knowledge of one item.
type entry struct {
	id string

	present  bool // the item's key exists
	head     itemHead
	stamp    clock.Timestamp // stamp of the write that enqueued it
	token    uint64          // greatest token of a claim, 0 if no claim is known
	verdict  verdict         // verdict of that claim
	claim    claimHead       // record of that claim
	attempts int             // attempts by that claim; kept when its record is deleted
	mine     bool            // this peer has the item, or is trying to claim it
	until    time.Time       // the item is not tried before
	state    State           // state under which Index.count counts it, "" for none
	due      time.Time       // when it may be claimed
	pile     *pile           // pile that holds it, nil for none
	position int             // index in that pile
}

// ahead orders what may be claimed: by priority, then by the stamps of the writes that
// enqueued, so that an item enqueued after another was seen comes after it.
func ahead(a, b *entry) bool {
	return cmp.Or(-cmp.Compare(a.head.Priority, b.head.Priority), cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.id, b.id)) < 0
}

func sooner(a, b *entry) bool { return a.due.Before(b.due) }

// closed reports whether the verdict forbids another claim, for good or until a later time (Q4).
func (e *entry) closed(now time.Time) bool {
	switch e.verdict {
	case done, dead:
		return true
	case failed:
		return e.claim.NotBefore > now.UnixMilli()
	}
	return false
}

// settle moves an entry to the state and the pile that follow from what is known of it. It must be
// called after every change of an entry.
func (x *Index) settle(e *entry, now time.Time) {
	e.lift()
	state := x.stateOf(e, now)
	if state != e.state {
		if e.state != "" {
			x.count[e.state]--
		}
		if e.state = state; state != "" {
			x.count[state]++
		}
	}
	switch {
	case !e.present && e.verdict == unclaimed && !e.mine:
		delete(x.entries, e.id)
	case e.mine || !e.present || e.verdict == done || e.verdict == dead:
	case e.due.After(now):
		x.later.add(e)
	case x.held(e):
		x.ready.doubted.add(e)
		x.wake()
	default:
		x.ready.add(e)
		x.wake()
	}
}

// stateOf returns the state of an entry, and sets when it is due.
func (x *Index) stateOf(e *entry, now time.Time) State {
	e.due = e.until
	for _, ms := range []int64{e.head.NotBefore, e.claim.NotBefore} {
		if at := time.UnixMilli(ms); ms != 0 && at.After(e.due) {
			e.due = at
		}
	}
	switch {
	case e.verdict == done:
		return Done
	case !e.present: // the item has not arrived yet, or was purged
		return ""
	case e.verdict == dead:
		return Dead
	case e.mine, e.verdict == claimed && (e.until.After(now) || x.held(e)):
		return Claimed
	case e.due.After(now):
		return Delayed
	}
	return Pending
}

// held reports whether a peer that is up, other than this one, claimed the item and may still have it.
func (x *Index) held(e *entry) bool {
	return e.verdict == claimed && e.claim.Worker != x.cfg.Self && x.cfg.Alive(e.claim.Worker)
}

// Tick moves the entries that have become due to the pile of those that may be claimed.
func (x *Index) Tick(now time.Time) {
	for len(x.later.list) > 0 && !x.later.list[0].due.After(now) {
		x.settle(x.later.list[0], now)
	}
}
