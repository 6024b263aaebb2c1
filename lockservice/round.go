package lockservice

import (
	"math/bits"
	"slices"
	"time"
)

// round is one proposal: exactly this instance, number, token and epoch.
type round struct {
	lock   *owned
	client string // the peer that is to hear of it
	inst   Inst
	mode   Mode
	flags  uint8
	no     uint64
	token  uint64
	ttl    time.Duration
	epoch  uint64
	waiter *waiter // nil for a renewal

	supersedes             []Inst
	acks, held, low, other uint8 // voters by their latest answer, as bits
	never                  uint8 // those of other that no retry will change
	gone                   uint8 // those that will not certify the renewal any more
	why                    Message
	heldBy                 []belief
	floor                  uint64
	left                   time.Duration // the longest quarantine among the answers
	started                time.Duration
	sent                   time.Duration
	tries                  int
	alarm                  alarm
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

// broadcast sends a round to the voters that have not decided on it.
func (o *owner) broadcast(t Time, r *round) {
	m := Message{Kind: Accept, Lock: r.lock.name, Inst: r.inst, Round: r.no, Token: r.token, TTL: r.ttl, Mode: r.mode,
		Supersedes: r.supersedes, Epoch: r.epoch, Flags: r.flags}
	for i, name := range o.n.voters.Names {
		if (r.acks|r.held|r.low|r.gone)&(1<<i) == 0 {
			o.n.send(name, m)
		}
	}
	r.sent = t.Mono
	o.n.alarms.set(&r.alarm, t.Mono+o.n.retry(r.tries))
	r.tries++
}

// again proposes a round anew to all, with a token above those that were in the
// way (O2). The client of a renewal keeps its first token; that of a bearer's lease is
// on record too, so that the lease can be resumed by it.
func (o *owner) again(t Time, r *round) {
	o.tokens.raise(r.floor)
	if r.flags&flagBearer == 0 {
		r.token = o.tokens.next(t.Wall)
	}
	r.epoch = o.n.voters.Epoch
	r.acks, r.held, r.low, r.other, r.never, r.gone, r.heldBy, r.tries = 0, 0, 0, 0, 0, 0, nil, 0
	o.broadcast(t, r)
}

// chase sends a round again, or lets it go.
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

// drop forgets a round; its acks are worth nothing any more.
func (o *owner) drop(r *round) {
	o.n.alarms.stop(&r.alarm)
	if o.rounds[r.inst] == r {
		delete(o.rounds, r.inst)
	}
	if r.waiter != nil {
		r.waiter.trial = nil
	}
}

// answered returns the round that an acceptor's answer is for and the acceptor's
// bit: exactly that round, and a voter of its epoch, or nil (O3).
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

// blockedBy notes who holds what the round is for.
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
	case without(r.held|r.low|r.other|r.gone) >= need: // not all have answered
	case without(r.never) < need && r.waiter != nil:
		o.fail(t, r, r.why)
	case without(r.never) < need && r.flags&flagResume != 0:
		o.deny(t, r, r.why)
	case without(r.gone) < need:
		o.deny(t, r, Message{Reason: Gone})
	case without(r.other) < need: // no quorum: keep asking
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

// supersede names those in the way that their clients released meanwhile, and
// reports whether there were any (O4).
func (o *owner) supersede(r *round) (found bool) {
	for _, b := range r.heldBy {
		if o.released.has(b.inst) && !slices.Contains(r.supersedes, b.inst) && len(r.supersedes) < maxSupersedes {
			r.supersedes = append(r.supersedes, b.inst)
			found = true
		}
	}
	return found
}

// certified grants: a majority acknowledged exactly this round (O3).
func (o *owner) certified(t Time, r *round) {
	o.drop(r)
	o.n.stats.Grants++
	o.n.send(r.client, Message{Kind: Granted, Lock: r.lock.name, Inst: r.inst, Round: r.no, Token: r.token})
	l := o.ensure(r.lock.name) // the one of a renewal may be gone
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

// blocked takes a round that others' records keep from a majority. Nacks correct
// the belief and the waiter stays in the queue (O1); if somebody acknowledged, two
// instances may have split the votes, and keeping this one alive could keep both
// from a majority for ever (O5).
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
