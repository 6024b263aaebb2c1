package lockservice

import (
	"math/bits"
	"slices"
)

// owner is the role that orders: it queues those who want a lock and proposes one
// after the other to the acceptors. It has no part in safety. Everything here may
// be wrong, stale or lost, and any number of voters may believe that they own a
// lock.
type owner struct {
	n      *Node
	locks  map[string]*owned
	rounds map[Inst]*round // an instance has at most one
	clears map[Inst]*clearing
	tokens tokens

	released recent // by their own clients
}

// clearing is a release on its way to the acceptors.
type clearing struct {
	lock   string
	inst   Inst
	flags  uint8
	client string // to be told
	acks   uint8
	tries  int
	alarm  alarm
}

const rememberReleased = 4096

func newOwner(n *Node) owner {
	return owner{n: n, locks: make(map[string]*owned), rounds: make(map[Inst]*round), clears: make(map[Inst]*clearing),
		released: newRecent(rememberReleased)}
}

// ensure returns the state of a lock, nil if the table is full.
func (o *owner) ensure(lock string) *owned {
	l := o.locks[lock]
	if l == nil && len(o.locks) < o.n.cfg.MaxLocks {
		l = &owned{name: lock}
		l.alarm.run = func(t Time) { o.review(t, l) }
		o.locks[lock] = l
	}
	return l
}

// admit sends the message of a client, a peer, elsewhere if this voter does not own the
// lock by its own view, and reports whether it stays here.
func (o *owner) admit(client string, m *Message) bool {
	switch hint := o.n.owners[shardOf(m.Lock)]; {
	case m.Hash != o.n.voters.hash && m.Epoch == o.n.voters.Epoch:
		o.refuse(client, m.Inst, m.Round, Message{Reason: WrongConfig, Epoch: o.n.voters.Epoch})
	case !o.n.voter():
		o.refuse(client, m.Inst, m.Round, Message{Reason: WrongEpoch, Epoch: o.n.voters.Epoch})
	case hint != o.n.cfg.Self && hint != "" && m.Flags&flagInsist == 0:
		o.n.send(client, Message{Kind: Redirect, Inst: m.Inst, Round: m.Round, Hint: hint})
	case o.released.has(m.Inst): // a late copy, or another peer that has not heard
		if m.Flags&flagBearer != 0 {
			o.refuse(client, m.Inst, m.Round, Message{Reason: Gone})
		}
	default:
		return true
	}
	return false
}

func (o *owner) refuse(client string, inst Inst, round uint64, m Message) {
	m.Kind, m.Inst, m.Round = Contended, inst, round
	o.n.send(client, m)
}

// acquire queues an instance, or notes that it still waits.
func (o *owner) acquire(t Time, m *Message) {
	if !o.admit(m.Inst.Node, m) {
		return
	}
	l := o.ensure(m.Lock)
	if l == nil {
		o.refuse(m.Inst.Node, m.Inst, m.Round, Message{Reason: Full})
		return
	}
	if b := l.belief(m.Inst); b != nil && !after(m.Round, b.round) {
		o.n.send(m.Inst.Node, Message{Kind: Granted, Lock: l.name, Inst: b.inst, Round: b.round, Token: b.token})
		return
	}
	w := l.waiter(m.Inst)
	if w == nil {
		if len(l.queue) >= o.n.cfg.MaxQueue {
			o.refuse(m.Inst.Node, m.Inst, m.Round, Message{Reason: Full})
			return
		}
		w = &waiter{inst: m.Inst, mode: m.Mode, asked: t.Mono - m.Waited, try: m.Flags&flagTry != 0}
		l.insert(w)
	}
	if m.Round > w.round {
		w.round, w.ttl, w.seen = m.Round, m.TTL, t.Mono
		if r := w.trial; r != nil { // undecided for a third of its time
			if r.acks != 0 && r.held != 0 {
				o.split(t, r)
				return
			}
			o.drop(r)
		}
	}
	fresh := w.trial == nil
	o.advance(t, l)
	switch {
	case w.trial == nil && w.try:
		o.giveUp(t, l, w, o.heldBy(t, l, w))
	case w.trial == nil || !fresh:
		o.tell(t, l, w)
	}
}

// tell says why a waiter waits.
func (o *owner) tell(t Time, l *owned, w *waiter) {
	var m Message
	switch {
	case w.trial == nil:
		m = o.heldBy(t, l, w)
	case w.trial.tries > 2:
		m = o.shortOf(w.trial)
	default:
		return // it is being decided
	}
	m.Kind, m.Inst, m.Round = Queued, w.inst, w.round
	o.n.send(w.inst.Node, m)
}

func (o *owner) heldBy(t Time, l *owned, w *waiter) Message {
	for _, b := range l.holders {
		if b.inst != w.inst && b.mode.conflicts(w.mode) {
			return Message{Reason: Held, Holder: b.inst, Left: max(b.until-t.Mono, 0)}
		}
	}
	return Message{Reason: Behind}
}

// shortOf says how far a round is from a majority.
func (o *owner) shortOf(r *round) Message {
	return Message{Reason: NoQuorum, Reachable: bits.OnesCount8(r.acks | r.held | r.low), Needed: o.n.voters.majority(), Left: r.left}
}

// giveUp takes a waiter out of the queue and says why.
func (o *owner) giveUp(t Time, l *owned, w *waiter, why Message) {
	l.remove(w)
	o.refuse(w.inst.Node, w.inst, w.round, why)
	o.advance(t, l)
}

// renew extends a lease. That its client says so is reason enough to believe that
// it holds the lock, unless the client resumes it and does not know itself.
func (o *owner) renew(t Time, client string, m *Message) {
	if !o.admit(client, m) {
		return
	}
	l := o.ensure(m.Lock)
	if l == nil {
		o.refuse(client, m.Inst, m.Round, Message{Reason: Full})
		return
	}
	if r := o.rounds[m.Inst]; r != nil {
		if !after(m.Round, r.no) {
			return
		}
		o.drop(r)
	}
	b := l.belief(m.Inst)
	if b != nil && !after(m.Round, b.round) {
		o.n.send(client, Message{Kind: Granted, Lock: l.name, Inst: b.inst, Round: b.round, Token: b.token})
		return
	}
	if m.Flags&flagResume == 0 {
		l.believe(t, m)
	}
	o.schedule(t, l)
	o.propose(t, &round{lock: l, client: client, inst: m.Inst, mode: m.Mode, no: m.Round, token: m.Token, ttl: m.TTL,
		flags: flagRenew | m.Flags&(flagBearer|flagResume)})
}

// release ends an instance, as its own client says, and hands the lock on: the next
// proposal names the dead one, so it need not wait for the acceptors to clear it.
func (o *owner) release(t Time, client string, m *Message) {
	o.released.add(m.Inst) // the only evidence that lets another one supersede it (O4)
	if r := o.rounds[m.Inst]; r != nil {
		o.drop(r)
	}
	if o.clears[m.Inst] == nil {
		c := &clearing{lock: m.Lock, inst: m.Inst, flags: m.Flags & flagBearer, client: client}
		c.alarm.run = func(t Time) { o.clear(t, c) }
		o.clears[m.Inst] = c
		o.clear(t, c)
	}
	l := o.locks[m.Lock]
	if l == nil {
		return
	}
	if w := l.waiter(m.Inst); w != nil {
		l.remove(w)
	}
	l.holders = slices.DeleteFunc(l.holders, func(b belief) bool { return b.inst == m.Inst })
	if !slices.Contains(l.dead, m.Inst) {
		l.dead = append(l.dead, m.Inst)
		l.dead = l.dead[max(0, len(l.dead)-maxSupersedes/2):]
	}
	o.advance(t, l)
}

func (o *owner) clear(t Time, c *clearing) {
	if c.tries > 6 { // its client asks again, or its record expires
		o.n.alarms.stop(&c.alarm)
		delete(o.clears, c.inst)
		return
	}
	for i, name := range o.n.voters.Names {
		if c.acks&(1<<i) == 0 {
			o.n.send(name, Message{Kind: Clear, Lock: c.lock, Inst: c.inst, Flags: c.flags})
		}
	}
	o.n.alarms.set(&c.alarm, t.Mono+o.n.retry(c.tries))
	c.tries++
}

func (o *owner) cleared(from string, m *Message) {
	c, i := o.clears[m.Inst], o.n.voters.index(from)
	if c == nil || i < 0 {
		return
	}
	c.acks |= 1 << i
	if bits.OnesCount8(c.acks) >= o.n.voters.majority() {
		o.n.alarms.stop(&c.alarm)
		delete(o.clears, c.inst)
		o.n.send(c.client, Message{Kind: Released, Inst: c.inst})
	}
}

// leave gives up the queues of the locks that are another's by the view: their
// waiters ask there.
func (o *owner) leave(t Time) {
	for _, name := range sortedKeys(o.locks) {
		if o.n.owners[shardOf(name)] == o.n.cfg.Self {
			continue
		}
		l := o.locks[name]
		for _, w := range l.queue {
			if w.trial != nil {
				o.drop(w.trial)
			}
		}
		l.queue = nil
		o.schedule(t, l)
	}
}

// restart proposes everything undecided to the voters of a new epoch, or gives up
// if this peer is none of them.
func (o *owner) restart(t Time) {
	if !o.n.voter() {
		for _, l := range o.locks { // each for itself: no order
			o.n.alarms.stop(&l.alarm)
		}
		for _, r := range o.rounds {
			o.n.alarms.stop(&r.alarm)
		}
		for _, c := range o.clears {
			o.n.alarms.stop(&c.alarm)
		}
		clear(o.locks)
		clear(o.rounds)
		clear(o.clears)
		return
	}
	for _, inst := range sortedInsts(o.rounds) {
		o.again(t, o.rounds[inst])
	}
	for _, inst := range sortedInsts(o.clears) {
		c := o.clears[inst]
		c.acks, c.tries = 0, 0
		o.clear(t, c)
	}
}
