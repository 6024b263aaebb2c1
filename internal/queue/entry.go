package queue

import (
	"cmp"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// State is where an item is.
type State string

// The states of an item.
const (
	Pending State = "pending" // may be claimed
	Delayed State = "delayed" // may be claimed later
	Claimed State = "claimed" // a worker has it, as far as this peer has heard
	Done    State = "done"    // its result is kept for a while, and its id is taken
	Dead    State = "dead"    // failed too often, until Requeue
)

// entry is what a peer knows of one item.
type entry struct {
	id string

	present  bool // the item is here, and head is its own
	head     itemHead
	stamp    clock.Timestamp
	token    uint64 // of the greatest claim
	verdict  verdict
	claim    claimHead
	attempts int       // that the greatest claim speaks of, and kept when its record goes
	mine     bool      // a claim of this peer has it, or is being made
	until    time.Time // somebody else has it till then, at least
	state    State     // as counted; "" if it is nowhere
	due      time.Time
	pile     *pile // where it waits
	position int
}

// ahead orders what may be claimed: by priority, then by the stamps of the writes that
// enqueued, so that an item enqueued after another was seen comes after it.
func ahead(a, b *entry) bool {
	return cmp.Or(-cmp.Compare(a.head.Priority, b.head.Priority), cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.id, b.id)) < 0
}

func sooner(a, b *entry) bool { return a.due.Before(b.due) }

// closed reports whether a claim has said that the item is not to be claimed at all, or
// not yet.
func (e *entry) closed(now time.Time) bool {
	switch e.verdict {
	case done, dead:
		return true
	case failed:
		return e.claim.NotBefore > now.UnixMilli()
	}
	return false
}

// settle puts an entry where it belongs now.
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
	case !e.present: // it has not come yet, or was purged
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

// held reports whether another peer that is up claimed an item, and may still have it.
func (x *Index) held(e *entry) bool {
	return e.verdict == claimed && e.claim.Worker != x.cfg.Self && x.cfg.Alive(e.claim.Worker)
}

// Tick moves what has become due.
func (x *Index) Tick(now time.Time) {
	for len(x.later.list) > 0 && !x.later.list[0].due.After(now) {
		x.settle(x.later.list[0], now)
	}
}
