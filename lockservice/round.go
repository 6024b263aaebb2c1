package lockservice

import (
	"math/bits"
	"slices"
	"time"
)

// round is one proposal. Only acknowledgements of exactly its instance, number, token and epoch
// count (O3). The fields of type uint8 below supersedes are sets of voters, one bit for each
// index; a voter is in the set of its latest answer.
type round struct {
	lock   *owned
	client string // the peer that is told of the decision
	inst   Inst
	mode   Mode
	flags  uint8
	no     uint64
	token  uint64
	ttl    time.Duration
	epoch  uint64
	waiter *waiter // nil for a renewal
	bundle uint64  // of the client, which the lease gets into; 0 for none

	supersedes []Inst
	acks       uint8         // certified
	held       uint8         // refused for a conflicting record
	low        uint8         // refused for the token
	other      uint8         // refused for another reason
	never      uint8         // subset of other: a repetition will be refused as well
	gone       uint8         // will not certify this renewal any more
	why        Message       // the reason of the latest answer in never
	heldBy     []belief      // the holders that the answers in held named
	floor      uint64        // highest floor among the answers in low
	left       time.Duration // longest quarantine among the answers
	started    time.Duration
	sent       time.Duration // when it was sent last
	tries      int
	alarm      alarm
}

// propose starts a round.
func (o *owner) propose(t Time, r *round) {
	r.epoch, r.started = o.n.voters.Epoch, t.Mono
	if r.waiter != nil {
		r.supersedes = slices.Clone(r.lock.dead)
	}
	r.alarm.run = func(t Time) { o.chase(t, r) }
	o.rounds[r.inst] = r
	o.broadcast(t, r)
}

// broadcast sends a round to the voters that have not decided on it: those without an answer, and
// those whose reason may pass.
func (o *owner) broadcast(t Time, r *round) {
	m := Message{Kind: Accept, Lock: r.lock.name, Inst: r.inst, Round: r.no, Token: r.token, TTL: r.ttl, Mode: r.mode,
		Supersedes: r.supersedes, Epoch: r.epoch, Flags: r.flags, Bundle: r.bundle}
	for i, name := range o.n.voters.Names {
		if (r.acks|r.held|r.low|r.gone)&(1<<i) == 0 {
			o.n.send(name, m)
		}
	}
	r.sent = t.Mono
	o.n.alarms.set(&r.alarm, t.Mono+o.n.retry(r.tries))
	r.tries++
}

// again proposes a round anew to all voters, with a token above every floor that was reported
// (O2). After a renewal the voters have the new token on record, and the client keeps the token
// of its grant. A bearer's lease keeps its token on record as well, since it is resumed by
// that token.
func (o *owner) again(t Time, r *round) {
	o.tokens.raise(r.floor)
	if r.flags&flagBearer == 0 {
		r.token = o.tokens.next(t.Wall)
	}
	r.epoch = o.n.voters.Epoch
	r.acks, r.held, r.low, r.other, r.never, r.gone, r.heldBy, r.tries = 0, 0, 0, 0, 0, 0, nil, 0
	o.broadcast(t, r)
}

// chase runs when a round is not decided in time: it sends it again, proposes it with another
// token, or gives it up after its TTL.
func (o *owner) chase(t Time, r *round) {
	switch {
	case t.Mono-r.started >= r.ttl:
		o.drop(r)
		if r.waiter != nil {
			r.lock.remove(r.waiter)
		}
		o.advance(t, r.lock)
	case r.tries > 2 && r.waiter != nil && r.acks != 0 && r.held != 0:
		o.split(t, r)
	case r.low != 0:
		o.again(t, r)
	default:
		o.broadcast(t, r)
		if r.tries == 3 && r.waiter != nil {
			o.tell(t, r.lock, r.waiter)
		}
	}
}

// drop forgets a round, so that later acknowledgements of it no longer count.
func (o *owner) drop(r *round) {
	o.n.alarms.stop(&r.alarm)
	if o.rounds[r.inst] == r {
		delete(o.rounds, r.inst)
	}
	if r.waiter != nil {
		r.waiter.trial = nil
	}
}

// answered returns the round to which an answer belongs and the bit of the acceptor, or nil if the
// answer is not to exactly the round that is open, or not of a voter of its epoch (O3). It
// removes the acceptor from all sets: its new answer replaces the old one.
func (o *owner) answered(t Time, from string, m *Message) (*round, uint8) {
	r, i := o.rounds[m.Inst], o.n.voters.index(from)
	if r == nil || i < 0 || r.no != m.Round || r.token != m.Token || r.epoch != o.n.voters.Epoch {
		return nil, 0
	}
	if r.tries == 1 && from != o.n.cfg.Self {
		o.n.measure(t.Mono - r.sent)
	}
	bit := uint8(1) << i
	r.acks, r.held, r.low, r.other, r.never, r.gone = r.acks&^bit, r.held&^bit, r.low&^bit, r.other&^bit, r.never&^bit, r.gone&^bit
	return r, bit
}

func (o *owner) ack(t Time, from string, m *Message) {
	if r, bit := o.answered(t, from, m); r != nil && m.Epoch == r.epoch { // R2
		r.acks |= bit
		o.settle(t, r)
	}
}

func (o *owner) nack(t Time, from string, m *Message) {
	r, bit := o.answered(t, from, m)
	if r == nil {
		return
	}
	switch m.Reason {
	case Held:
		r.held |= bit
		r.blockedBy(belief{inst: m.Holder, mode: m.Mode, until: t.Mono + stretch(m.Left, o.n.cfg.Drift)})
	case TokenLow:
		r.low |= bit
		r.floor = max(r.floor, m.Floor)
	case TooLong, WrongConfig, Full, Barred, Gone:
		if m.Reason == Gone && r.waiter == nil {
			r.gone |= bit
			break
		}
		r.other, r.never = r.other|bit, r.never|bit
		r.why = Message{Reason: m.Reason, Left: m.Left, Epoch: m.Epoch}
	default:
		r.other |= bit
		r.left = max(r.left, m.Left)
	}
	o.settle(t, r)
}

// blockedBy notes a holder that an acceptor named.
func (r *round) blockedBy(b belief) {
	for i := range r.heldBy {
		if old := &r.heldBy[i]; old.inst == b.inst {
			old.until = max(old.until, b.until)
			return
		}
	}
	r.heldBy = append(r.heldBy, b)
}

// settle decides a round if its answers allow that.
func (o *owner) settle(t Time, r *round) {
	voters, need := len(o.n.voters.Names), o.n.voters.majority()
	without := func(refused uint8) int { return voters - bits.OnesCount8(refused) }
	switch {
	case bits.OnesCount8(r.acks) >= need:
		o.certified(t, r)
	case without(r.held|r.low|r.other|r.gone) >= need: // a majority may still come
	case without(r.never) < need && r.waiter != nil:
		o.fail(t, r, r.why)
	case without(r.never) < need && r.flags&flagResume != 0:
		o.deny(t, r, r.why)
	case without(r.gone) < need:
		o.deny(t, r, Message{Reason: Gone})
	case without(r.other) < need: // too few voters can certify now: chase asks them again
	case r.held != 0 && r.waiter != nil && o.supersede(r):
		o.again(t, r)
	case without(r.held|r.other|r.gone) >= need:
		o.again(t, r)
	case r.waiter != nil:
		o.blocked(t, r)
	case without(r.held|r.gone) < need:
		why := Message{Reason: Gone}
		if len(r.heldBy) > 0 {
			why = Message{Reason: Overtaken, Holder: r.heldBy[0].inst}
		}
		o.deny(t, r, why)
	}
}

// deny ends the round of a renewal that will not be certified.
func (o *owner) deny(t Time, r *round, why Message) {
	o.drop(r)
	o.refuse(r.client, r.inst, r.no, why)
	if why.Reason == Gone && r.flags&flagResume == 0 {
		r.lock.holders = slices.DeleteFunc(r.lock.holders, func(b belief) bool { return b.inst == r.inst })
		o.advance(t, r.lock)
	}
}

// supersede adds to the round the conflicting instances that their own clients have released
// meanwhile, and reports whether there were any (O4).
func (o *owner) supersede(r *round) (found bool) {
	for _, b := range r.heldBy {
		if o.released.has(b.inst) && !slices.Contains(r.supersedes, b.inst) && len(r.supersedes) < maxSupersedes {
			r.supersedes = append(r.supersedes, b.inst)
			found = true
		}
	}
	return found
}

// certified grants a round that a majority has acknowledged (O3).
func (o *owner) certified(t Time, r *round) {
	o.drop(r)
	o.n.stats.Grants++
	o.n.send(r.client, Message{Kind: Granted, Lock: r.lock.name, Inst: r.inst, Round: r.no, Token: r.token})
	l := o.ensure(r.lock.name) // the entry may have been dropped since the round began
	if l == nil {
		return
	}
	b := l.belief(r.inst)
	if b == nil {
		l.holders = append(l.holders, belief{inst: r.inst, mode: r.mode})
		b = &l.holders[len(l.holders)-1]
	}
	b.round, b.token, b.until = r.no, r.token, t.Mono+stretch(r.ttl, o.n.cfg.Drift)
	if r.waiter != nil {
		l.remove(r.waiter)
		o.advance(t, l)
		return
	}
	o.schedule(t, l)
}

// blocked ends a round that records of other instances keep from a majority. The Nacks correct
// the belief, and the waiter stays in the queue (O1). But if a voter acknowledged, two
// instances may have split the votes, and this one has to give up, since otherwise both
// could keep each other from a majority for ever (O5).
func (o *owner) blocked(t Time, r *round) {
	for _, b := range r.heldBy {
		r.lock.learn(b)
	}
	switch w := r.waiter; {
	case w.try && len(o.n.voters.Names)-bits.OnesCount8(r.held) < o.n.voters.majority():
		o.fail(t, r, o.heldBy(t, r.lock, w))
	case r.acks != 0:
		o.split(t, r)
	default:
		o.drop(r)
		o.advance(t, r.lock)
		o.tell(t, r.lock, w)
	}
}

func (o *owner) split(t Time, r *round) {
	o.n.stats.Splits++
	o.fail(t, r, Message{Reason: Split})
}

func (o *owner) fail(t Time, r *round, why Message) {
	w := r.waiter
	o.drop(r)
	o.giveUp(t, r.lock, w, why)
}
