package queue

import (
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

const (
	raceRetry   = 50 * time.Millisecond  // pause before an item is tried again that another peer is claiming
	barredRetry = 500 * time.Millisecond // pause before an item is tried again that the voters bar
	claimsKept  = 7 * 24 * time.Hour     // expiry of the record of a claim that is not final
)

// Claim is an item that this peer tries to claim, or has claimed.
type Claim struct {
	ID       string
	Token    uint64 // fencing token of its lease, 0 until that is granted
	Priority int
	Attempt  int // number of this attempt, counted from 1
	Enqueued time.Time

	e     *entry
	phase phase
	said  claimHead // the record that Confirmed returned
}

// phase is how far a claim has got.
type phase uint8

const (
	trying    phase = iota // its lease is asked for
	granted                // its lease is granted and not confirmed
	working                // its record is written, and a worker has the item
	finishing              // its ending is being written
	over                   // it has ended
)

// Take appends to into up to n items that this peer is to try now. The caller asks for the lease of
// each and then calls Granted or Refused.
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

// Refused ends a try whose lease was not granted. It reports whether the reason concerns only this
// item, so that the caller can go on with other items.
func (x *Index) Refused(now time.Time, c *Claim, err error) (others bool) {
	held, isHeld := errors.AsType[*lockservice.HeldError](err)
	var until time.Time
	switch {
	case isHeld && c.e.verdict == claimed:
		x.Counters.Contended++
		until = now.Add(max(held.Left, raceRetry))
	case isHeld: // the holder's claim has not arrived here, or its ending has and its lease is still there
		x.Counters.Contended++
		until = now.Add(raceRetry)
	case errors.Is(err, lockservice.ErrBarred): // the verdict for which it is barred has not arrived here
		until = now.Add(barredRetry)
	}
	x.leave(now, c, until)
	return !until.IsZero()
}

// Granted notes that this peer has the lease of an item. The caller must now confirm the lease by a
// new round (Q1): a voter that certified the grant may have heard since that the item is done.
func (x *Index) Granted(c *Claim, token uint64) { c.Token, c.phase = token, granted }

// GiveUp ends a claim that was granted and not confirmed, or could not be written. The caller
// releases the lease.
func (x *Index) GiveUp(now time.Time, c *Claim) { x.leave(now, c, now.Add(raceRetry)) }

// Confirmed notes that a majority of voters has certified the lease in a round that began after
// its grant (Q1). exists says that the store still has the item's value. The caller makes the
// writes that Confirmed returns, if any, and then calls Begin. There are three results:
//
//   - writes and mayWork: the item is claimed, and a worker gets it after Begin.
//   - writes without mayWork: the item was tried too often and is dead. The caller calls GiveUp
//     after Begin.
//   - no writes: the item was finished or removed meanwhile. The caller calls GiveUp.
func (x *Index) Confirmed(now time.Time, c *Claim, ttl time.Duration, exists bool) (ops []crdt.Op, mayWork bool) {
	e := c.e
	if c.phase != granted || !exists || !e.present || e.closed(now) || e.token >= c.Token {
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

// Begin notes that the writes of Confirmed are done: the item is being worked on, or dead.
func (x *Index) Begin(now time.Time, c *Claim) {
	x.judge(now, c.ID, c.Token, c.said)
	if c.said.State == dead.String() {
		x.Counters.Dead++
		return
	}
	c.phase = working
	x.Counters.Claimed++
}

// Adopt takes over a claim of another peer, or of an earlier process of this one, whose worker has
// come here with its lease. It returns nil until this peer has seen the claim's record, so
// that its own record of the claim supersedes that one on every peer. It also returns nil
// while this peer has the item itself.
func (x *Index) Adopt(now time.Time, id string, token uint64) *Claim {
	e := x.entries[id]
	if e == nil || e.token != token || e.mine {
		return nil
	}
	e.mine = true
	x.settle(e, now)
	return &Claim{ID: id, Token: token, Priority: e.head.Priority, Attempt: e.attempts, Enqueued: e.stamp.Time(), e: e, phase: working}
}

// say returns the write of a claim's record, and keeps the record for Begin.
func (x *Index) say(now time.Time, c *Claim, rec claimRecord, keep time.Duration) crdt.Op {
	op := x.op(now, c, &rec, keep)
	c.said = rec.head()
	return op
}

// op makes the write of a claim's record, which expires after keep; 0 for never. The write is vital:
// a full store takes it, since finishing work makes room.
func (x *Index) op(now time.Time, c *Claim, rec *claimRecord, keep time.Duration) crdt.Op {
	rec.Worker = x.cfg.Self
	value, err := rec.value()
	if err != nil { // only the result can make the record too large
		rec.Error, rec.Result = err.Error(), crdt.Value{}
		value, _ = rec.value()
	}
	op := crdt.Op{Verb: crdt.Put, Kind: crdt.Register, Key: ClaimKey(x.cfg.Name, c.ID, c.Token), Value: value, Vital: true}
	if keep > 0 {
		op.Expiry = uint64(now.Add(keep).UnixMilli())
	}
	return op
}

// leave ends a try or a claim of this peer. This peer does not try the item again before until.
func (x *Index) leave(now time.Time, c *Claim, until time.Time) {
	e := c.e
	c.phase, e.mine = over, false
	if e.verdict != claimed || e.claim.Worker == x.cfg.Self || until.After(e.until) {
		e.until = until
	}
	x.settle(e, now)
}
