package queue

import (
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

const (
	retryBase = time.Second     // longest back-off before the second attempt; doubles with each attempt
	retryMost = 5 * time.Minute // longest back-off before any attempt
)

// Ending is the last verdict of a claim. Op is the write of its record.
type Ending struct {
	Claim *Claim
	Op    crdt.Op

	verdict verdict
	head    claimHead
}

// Failure says what happens to an item that failed.
type Failure struct {
	Reason string
	After  *time.Duration // delay of the next attempt, 0 to MaxDelay; nil for a back-off
	Dead   bool           // there is no next attempt
}

// Complete ends a claim as done. Complete, Fail and Release return false if the claim has ended
// already or is about to.
func (x *Index) Complete(now time.Time, c *Claim, result crdt.Value) (*Ending, bool) {
	return x.finish(now, c, done, claimRecord{Attempt: c.Attempt, Result: result}, x.cfg.Retention)
}

// Fail ends a claim as failed: the item is tried again later, or is dead after its last attempt.
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

// backOff returns a random time between one half and the whole of a limit that doubles with each
// attempt, so that items that failed together are not tried together.
func backOff(attempt int, rng *rand.Rand) time.Duration {
	most := min(retryBase<<min(max(attempt-1, 0), 16), retryMost)
	return most/2 + time.Duration(rng.Int64N(int64(most/2)))
}

// Release ends a claim as if it had not been made: the attempt does not count.
func (x *Index) Release(now time.Time, c *Claim) (*Ending, bool) {
	return x.finish(now, c, failed, claimRecord{Attempt: c.Attempt - 1}, claimsKept)
}

// finish makes the ending of a claim in phase working. It takes effect here at Written.
func (x *Index) finish(now time.Time, c *Claim, v verdict, rec claimRecord, keep time.Duration) (*Ending, bool) {
	if c.phase != working {
		return nil, false
	}
	c.phase = finishing
	rec.State = v.String()
	op := x.op(now, c, &rec, keep)
	return &Ending{Claim: c, Op: op, verdict: v, head: rec.head()}, true
}

// Written notes that an ending is written at this peer. It counts here and spreads to the other peers
// even if Conclude finds that it is not valid.
func (x *Index) Written(now time.Time, end *Ending) {
	x.judge(now, end.Claim.ID, end.Claim.Token, end.head)
}

// Unwritten notes that the store had no room for the ending. Its claim goes on and may end otherwise.
// Unwritten returns false if the lease has ended meanwhile.
func (end *Ending) Unwritten() bool {
	if end.Claim.phase != finishing {
		return false
	}
	end.Claim.phase = working
	return true
}

// Conclude decides whether an ending is valid (Q3): acked says that a majority of voters has it, and
// left how long the lease still lasted when that was seen. If both hold, every majority that
// could certify another claim includes a voter that knows the ending and bars the item. The
// caller releases the lease. A remove that is not zero deletes an item that is done. After a
// completion that is not valid the item stays, since a claim that supersedes it can still
// fail.
func (x *Index) Conclude(now time.Time, end *Ending, acked bool, left time.Duration) (remove crdt.Op, valid bool) {
	valid = acked && left > 0 && end.Claim.e.token <= end.Claim.Token // a greater token belongs to a later claim
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

// State returns the state of the item if the ending is valid.
func (end *Ending) State() State {
	switch end.verdict {
	case done:
		return Done
	case dead:
		return Dead
	}
	return Pending
}

// Lost ends a claim whose lease is over: the item is pending again (Q5). The write of the ending tells
// other peers, so that they need not wait for the TTL. Lost returns false if the claim has
// ended already or is about to.
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

// Lapse ends a claim whose lease is over as far as this peer knows, and writes nothing: the worker may
// have gone on at another peer, and a record from here, made before that peer's completion
// arrives, could supersede it. If the worker has stopped, the item is pending once the lease
// is over (Q5). Lapse returns false if the claim has ended already or is about to.
func (x *Index) Lapse(now time.Time, c *Claim) bool {
	if c.phase != working {
		c.phase = max(c.phase, over)
		return false
	}
	x.Counters.Lapsed++
	x.leave(now, c, time.Time{})
	return true
}

// Stop ends a claim whose worker stops. Its ending says that the item failed and may be claimed at
// once. Stop returns false if the claim has ended already or is about to.
func (x *Index) Stop(now time.Time, c *Claim) (*Ending, bool) {
	end, ok := x.finish(now, c, failed, claimRecord{Attempt: c.Attempt, Error: "its worker stopped"}, claimsKept)
	c.phase = over
	return end, ok
}
