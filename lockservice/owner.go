package lockservice

import (
	"math/bits"
	"slices"
)

// owner is the role that orders: it queues the instances that want a lock, and proposes one
// after the other to the acceptors. Safety does not depend on which voter owns a lock: any
// number may take themselves for the owner, and their queues and beliefs may be wrong, stale
// or lost. It depends on what each owner does with its own rounds: it gives them tokens (O2),
// counts their acknowledgements (O3), and names released instances (O4).
type owner struct {
	n      *Node
	locks  map[string]*owned
	rounds map[Inst]*round    // proposals that are not decided; one for each instance at most
	clears map[Inst]*clearing // releases that no majority has confirmed
	tokens tokens

	released recent // the latest instances that their own clients released
}

// clearing is the release of an instance on its way to the acceptors.
type clearing struct {
	lock   string
	inst   Inst
	flags  uint8
	client string // the peer that is told when a majority has cleared the instance
	acks   uint8  // voters that have, by the bit of their index
	tries  int
	alarm  alarm
}

const rememberReleased = 4096 // capacity of owner.released

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

// admit reports whether this voter is to serve a request. If not it answers the peer client: with a
// redirection if another voter owns the lock, or with the reason.
func (o *owner) admit(client string, m *Message) bool {
	switch hint := o.n.owners[shardOf(m.Lock)]; {
	case m.Hash != o.n.voters.hash && m.Epoch == o.n.voters.Epoch:
		o.refuse(client, m.Inst, m.Round, Message{Reason: WrongConfig, Epoch: o.n.voters.Epoch})
	case !o.n.voter():
		o.refuse(client, m.Inst, m.Round, Message{Reason: WrongEpoch, Epoch: o.n.voters.Epoch})
	case hint != o.n.cfg.Self && hint != "" && m.Flags&flagInsist == 0:
		o.n.send(client, Message{Kind: Redirect, Inst: m.Inst, Round: m.Round, Hint: hint})
	case o.released.has(m.Inst): // the request is a late copy, or its peer has not heard of the release
		if m.Flags&flagBearer != 0 {
			o.refuse(client, m.Inst, m.Round, Message{Reason: Gone})
		}
	default:
		return true
	}
	return false
}

// refuse tells a client that its instance will not get the lock, for the reason in m.
func (o *owner) refuse(client string, inst Inst, round uint64, m Message) {
	m.Kind, m.Inst, m.Round = Contended, inst, round
	o.n.send(client, m)
}

// acquire queues an instance, or notes that a queued one still waits. A new round of the client
// replaces the proposal that carries an older one.
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
		if r := w.trial; r != nil { // the proposal was not decided within a third of the TTL
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

// tell tells a client why its instance waits, unless it is just being decided.
func (o *owner) tell(t Time, l *owned, w *waiter) {
	var m Message
	switch {
	case w.trial == nil:
		m = o.heldBy(t, l, w)
	case w.trial.tries > 2:
		m = o.shortOf(w.trial)
	default:
		return
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

// shortOf returns the reason of a round that lacks a majority of answers.
func (o *owner) shortOf(r *round) Message {
	return Message{Reason: NoQuorum, Reachable: bits.OnesCount8(r.acks | r.held | r.low), Needed: o.n.voters.majority(), Left: r.left}
}

// giveUp removes a waiter from the queue and tells its client why.
func (o *owner) giveUp(t Time, l *owned, w *waiter, why Message) {
	l.remove(w)
	o.refuse(w.inst.Node, w.inst, w.round, why)
	o.advance(t, l)
}

// renew proposes the renewal of a lease. A client that renews says that it holds the lock, which
// is reason enough to believe so; a client that resumes does not know it itself.
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
		flags: flagRenew | m.Flags&(flagBearer|flagResume), bundle: m.Bundle})
}

// release ends an instance that its own client has released, and proposes the next waiter at once:
// the proposal names the released instance, so it need not wait until the acceptors have
// cleared that.
func (o *owner) release(t Time, client string, m *Message) {
	o.released.add(m.Inst) // only this evidence lets another instance supersede it (O4)
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

// clear sends a release to the voters that have not confirmed it, seven times at most.
func (o *owner) clear(t Time, c *clearing) {
	if c.tries > 6 { // the client repeats its release if it still matters; otherwise the record expires
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

// leave drops the queues of the locks that another voter owns by the view. Their waiters repeat
// their requests there, and their positions follow from how long they have waited.
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

// restart proposes everything that is undecided to the voters of a new epoch, or forgets it if
// this peer is none of them.
func (o *owner) restart(t Time) {
	if !o.n.voter() {
		for _, l := range o.locks { // the order does not matter
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
