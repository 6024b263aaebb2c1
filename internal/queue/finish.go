package queue

import (
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

const (
	retryBase = time.Second     // before the second attempt; doubled each time
	retryMost = 5 * time.Minute // and no longer
)

// Ending is what a claim is to say last: Op is the write of it.
type Ending struct {
	Claim *Claim
	Op    crdt.Op

	verdict verdict
	head    claimHead
}

// Failure says what happens to an item that failed.
type Failure struct {
	Reason string
	After  *time.Duration // the next attempt waits for so long; nil for a back-off
	Dead   bool           // there is none
}

// Complete ends a claim as done. It fails, as Fail and Release do, if the claim has
// ended already.
func (x *Index) Complete(now time.Time, c *Claim, result crdt.Value) (*Ending, bool) {
	return x.finish(now, c, done, claimRecord{Attempt: c.Attempt, Result: result}, x.cfg.Retention)
}

// Fail ends a claim as failed: the item is tried again later, or is dead.
func (x *Index) Fail(now time.Time, c *Claim, f Failure) (*Ending, bool) {
	rec := claimRecord{Attempt: c.Attempt, Error: f.Reason}
	if f.Dead || c.Attempt >= x.cfg.attempts(c.e) {
		return x.finish(now, c, dead, rec, 0)
	}
	after := backOff(c.Attempt, x.rng)
	if f.After != nil {
		after = min(max(*f.After, 0), MaxDelay)
	}
	rec.NotBefore = now.Add(after).UnixMilli()
	return x.finish(now, c, failed, rec, claimsKept)
}

// backOff returns how long to wait after an attempt: between half and all of a time
// that doubles, so that what failed together is not tried together.
func backOff(attempt int, rng *rand.Rand) time.Duration {
	most := min(retryBase<<min(max(attempt-1, 0), 16), retryMost)
	return most/2 + time.Duration(rng.Int64N(int64(most/2)))
}

// Release ends a claim as if it had not been made.
func (x *Index) Release(now time.Time, c *Claim) (*Ending, bool) {
	return x.finish(now, c, failed, claimRecord{Attempt: c.Attempt - 1}, claimsKept)
}

func (x *Index) finish(now time.Time, c *Claim, v verdict, rec claimRecord, keep time.Duration) (*Ending, bool) {
	if c.phase != working {
		return nil, false
	}
	c.phase = finishing
	rec.State = v.String()
	op := x.op(now, c, &rec, keep)
	return &Ending{Claim: c, Op: op, verdict: v, head: rec.head()}, true
}

// Written takes that an ending is written at this peer: it is what holds here, and
// spreads, whether it becomes valid or not.
func (x *Index) Written(now time.Time, end *Ending) {
	x.judge(now, end.Claim.ID, end.Claim.Token, end.head)
}

// Unwritten takes that there was no room for what an ending says: the claim goes on, and
// can still end otherwise. It returns false if its lease is over meanwhile.
func (x *Index) Unwritten(end *Ending) bool {
	if end.Claim.phase != finishing {
		return false
	}
	end.Claim.phase = working
	return true
}

// Conclude decides whether an ending is valid (Q3): acked says that a majority of
// voters has it, and left how long the lease lasted when that was seen. Then others may
// claim the item only by voters one of which knows, and bars it. The lease is to be
// given back. Remove, if not zero, is the removal of an item that is done: it stays
// after a completion that is not valid, so that a claim that beats it can still fail.
func (x *Index) Conclude(now time.Time, end *Ending, acked bool, left time.Duration) (remove crdt.Op, valid bool) {
	valid = acked && left > 0 && end.Claim.e.token <= end.Claim.Token // else its bearer finished it elsewhere
	x.leave(now, end.Claim, time.Time{})
	switch n := &x.Counters; {
	case !valid:
		n.Lost++
	case end.verdict == done:
		n.Completed++
		remove = crdt.Op{Verb: crdt.Delete, Key: ItemKey(x.cfg.Name, end.Claim.ID)}
	case end.verdict == dead:
		n.Failed++
		n.Dead++
	default:
		n.Failed++
	}
	return remove, valid
}

// State returns where the item is once the ending is valid.
func (end *Ending) State() State {
	switch end.verdict {
	case done:
		return Done
	case dead:
		return Dead
	}
	return Pending
}

// Lost ends a claim whose lease is over: the item is pending again (Q5), and others,
// who need not wait for the TTL to hear, are told so by a write. It returns false if
// the claim had ended already, or is about to.
func (x *Index) Lost(now time.Time, c *Claim) (*Ending, bool) {
	end, ok := x.finish(now, c, failed, claimRecord{Attempt: c.Attempt, Error: "its claim was lost"}, claimsKept)
	if !ok {
		c.phase = max(c.phase, over)
		return nil, false
	}
	x.Counters.Lost++
	x.leave(now, c, time.Time{})
	return end, true
}

// Lapse ends a claim whose lease is over as far as this peer knows, and says nothing of
// it: its worker may have gone on at another peer, and a word from here, written before
// the other's is heard of, would be the later one and count in its place. If the worker
// has not, the item is pending once the lease is over (Q5). It returns false if the claim
// had ended already, or is about to.
func (x *Index) Lapse(now time.Time, c *Claim) bool {
	if c.phase != working {
		c.phase = max(c.phase, over)
		return false
	}
	x.Counters.Lost++
	x.leave(now, c, time.Time{})
	return true
}

// Stop ends a claim whose worker stops, as Lost does.
func (x *Index) Stop(now time.Time, c *Claim) (*Ending, bool) {
	end, ok := x.finish(now, c, failed, claimRecord{Attempt: c.Attempt, Error: "its worker stopped"}, claimsKept)
	c.phase = over
	return end, ok
}
