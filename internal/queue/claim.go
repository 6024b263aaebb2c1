package queue

import (
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

const (
	raceRetry   = 50 * time.Millisecond // for an item that another peer is about to claim
	barredRetry = 500 * time.Millisecond
	claimsKept  = 7 * 24 * time.Hour
)

// Claim is an item that this peer tries to claim, or has claimed.
type Claim struct {
	ID       string
	Token    uint64 // of its lease, once it is granted
	Priority int
	Attempt  int // 1 the first time
	Enqueued time.Time

	e     *entry
	phase phase
	said  claimHead // what Confirmed returned to be written
}

type phase uint8

const (
	trying phase = iota
	granted
	working
	finishing
	over
)

// Take appends up to n items to be claimed, which are this peer's to try now: ask for
// the lease of each, and say Granted or Refused.
func (x *Index) Take(now time.Time, n int, into []*Claim) []*Claim {
	x.Tick(now)
	x.ready.divide(now)
	for !x.setting.Paused && len(into) < n {
		e := x.ready.first()
		if e == nil {
			break
		}
		e.mine = true
		x.settle(e, now)
		into = append(into, &Claim{ID: e.id, e: e})
	}
	return into
}

// Refused takes that the lease of an item was not granted. It reports whether that is
// about this item only, so that others may be claimed all the same.
func (x *Index) Refused(now time.Time, c *Claim, err error) (others bool) {
	held, isHeld := errors.AsType[*lockservice.HeldError](err)
	var until time.Time
	switch {
	case isHeld && c.e.verdict == claimed:
		x.Counters.Contended++
		until = now.Add(max(held.Left, raceRetry))
	case isHeld: // by one who has not said so yet, or not any more
		x.Counters.Contended++
		until = now.Add(raceRetry)
	case errors.Is(err, lockservice.ErrBarred): // what became of it has not come here yet
		until = now.Add(barredRetry)
	}
	x.leave(now, c, until)
	return !until.IsZero()
}

// Granted takes that the lease of an item is this peer's. It is to be confirmed by a
// round of its own, begun from now on: a voter that certified it earlier may have heard
// since that the item is done.
func (x *Index) Granted(c *Claim, token uint64) { c.Token, c.phase = token, granted }

// GiveUp ends a claim that was granted and not confirmed, or could not be written. Its
// lease is to be given back.
func (x *Index) GiveUp(now time.Time, c *Claim) { x.leave(now, c, now.Add(raceRetry)) }

// Confirmed takes that a majority of voters has certified the lease in a round that
// began after its grant (Q1), and returns what is to be written, then Begin. Work may begin
// once it is; or the item is not to be claimed after all, for its last holder finished it
// meanwhile or it was tried too often: then GiveUp. There says that the item's value is
// still at hand.
func (x *Index) Confirmed(now time.Time, c *Claim, ttl time.Duration, there bool) (ops []crdt.Op, work bool) {
	e := c.e
	if c.phase != granted || !there || !e.present || e.closed(now) || e.token >= c.Token {
		return nil, false
	}
	before := e.token
	c.Priority, c.Attempt, c.Enqueued = e.head.Priority, e.attempts+1, e.stamp.Time()
	if c.Attempt > x.cfg.attempts(e) {
		return []crdt.Op{x.say(now, c, claimRecord{State: dead.String(), Attempt: c.Attempt - 1, Error: "given up: its workers were lost"}, 0)}, false
	}
	ops = append(ops, x.say(now, c, claimRecord{State: claimed.String(), Attempt: c.Attempt, TTL: ttl.Milliseconds()}, claimsKept))
	if before != 0 {
		ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: ClaimKey(x.cfg.Name, c.ID, before)})
	}
	return ops, true
}

// Begin takes that what Confirmed returned is written: the work begins, or the item is
// dead, and then GiveUp.
func (x *Index) Begin(now time.Time, c *Claim) {
	x.judge(now, c.ID, c.Token, c.said)
	if c.said.State == dead.String() {
		x.Counters.Dead++
		return
	}
	c.phase = working
	x.Counters.Claimed++
}

// Adopt takes over a claim that another peer made, or an earlier life of this one, whose
// worker has come here with its lease. It returns nil until this peer has heard of the
// claim, so that what is said of it here comes after that on every peer; and while this
// peer has the item itself.
func (x *Index) Adopt(now time.Time, id string, token uint64) *Claim {
	e := x.entries[id]
	if e == nil || e.token != token || e.mine {
		return nil
	}
	e.mine = true
	x.settle(e, now)
	return &Claim{ID: id, Token: token, Priority: e.head.Priority, Attempt: e.attempts, Enqueued: e.stamp.Time(), e: e, phase: working}
}

// say returns the write of what a claim says, which holds once it is written.
func (x *Index) say(now time.Time, c *Claim, rec claimRecord, keep time.Duration) crdt.Op {
	op := x.op(now, c, &rec, keep)
	c.said = rec.head()
	return op
}

// op makes the write of what a claim says: a store that is full takes it all the same,
// for work that is done makes room.
func (x *Index) op(now time.Time, c *Claim, rec *claimRecord, keep time.Duration) crdt.Op {
	rec.Worker = x.cfg.Self
	value, err := rec.value()
	if err != nil { // of a result, which was encoded before
		rec.Error, rec.Result = err.Error(), crdt.Value{}
		value, _ = rec.value()
	}
	op := crdt.Op{Verb: crdt.Put, Kind: crdt.Register, Key: ClaimKey(x.cfg.Name, c.ID, c.Token), Value: value, Vital: true}
	if keep > 0 {
		op.Expiry = uint64(now.Add(keep).UnixMilli())
	}
	return op
}

// leave ends a try or a claim of this peer; others may have the item until then.
func (x *Index) leave(now time.Time, c *Claim, until time.Time) {
	e := c.e
	c.phase, e.mine = over, false
	if e.verdict != claimed || e.claim.Worker == x.cfg.Self || until.After(e.until) {
		e.until = until
	}
	x.settle(e, now)
}
