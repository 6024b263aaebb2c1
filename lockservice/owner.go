package lockservice

import (
	"math/bits"
	"slices"
	"time"
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

	released map[Inst]bool // by their own clients, the latest
	ring     []Inst        // the same, in order
	ringAt   int
}

// owned is what an owner believes of one lock.
type owned struct {
	name    string
	queue   []*waiter // by who asked first
	holders []belief
	dead    []Inst // the latest that were released
	alarm   alarm
}

// belief is that an instance holds a lock. It decides what is proposed when, and
// nothing else (O1).
type belief struct {
	inst  Inst
	mode  Mode
	round uint64 // certified here; 0 if known by hearsay
	token uint64
	until time.Duration
}

type waiter struct {
	inst  Inst
	mode  Mode
	round uint64
	ttl   time.Duration
	asked time.Duration
	seen  time.Duration
	try   bool
	trial *round // proposed and undecided
}

// round is one proposal: exactly this instance, number, token and epoch.
type round struct {
	lock   *owned
	inst   Inst
	mode   Mode
	no     uint64
	token  uint64
	ttl    time.Duration
	epoch  uint64
	waiter *waiter // nil for a renewal

	supersedes             []Inst
	acks, held, low, other uint8 // voters by their latest answer, as bits
	never                  uint8 // those of other that no retry will change
	why                    Message
	heldBy                 []belief
	floor                  uint64
	left                   time.Duration // the longest quarantine among the answers
	started                time.Duration
	sent                   time.Duration
	tries                  int
	alarm                  alarm
}

// clearing is a release on its way to the acceptors.
type clearing struct {
	lock  string
	inst  Inst
	acks  uint8
	tries int
	alarm alarm
}

const rememberReleased = 4096

func newOwner(n *Node) owner {
	return owner{n: n, locks: make(map[string]*owned), rounds: make(map[Inst]*round), clears: make(map[Inst]*clearing),
		released: make(map[Inst]bool), ring: make([]Inst, rememberReleased)}
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

// admit sends a client's message elsewhere if this voter does not own the lock by
// its own view, and reports whether it stays here.
func (o *owner) admit(m *Message) bool {
	switch hint := o.n.owners[shardOf(m.Lock)]; {
	case m.Hash != o.n.voters.hash && m.Epoch == o.n.voters.Epoch:
		o.refuse(m.Inst, m.Round, Message{Reason: WrongConfig, Epoch: o.n.voters.Epoch})
	case !o.n.voter():
		o.refuse(m.Inst, m.Round, Message{Reason: WrongEpoch, Epoch: o.n.voters.Epoch})
	case hint != o.n.cfg.Self && hint != "" && m.Flags&flagInsist == 0:
		o.n.send(m.Inst.Node, Message{Kind: Redirect, Inst: m.Inst, Round: m.Round, Hint: hint})
	case o.released[m.Inst]: // a late copy
	default:
		return true
	}
	return false
}

func (o *owner) refuse(inst Inst, round uint64, m Message) {
	m.Kind, m.Inst, m.Round = Contended, inst, round
	o.n.send(inst.Node, m)
}

// acquire queues an instance, or notes that it still waits.
func (o *owner) acquire(t Time, m *Message) {
	if !o.admit(m) {
		return
	}
	l := o.ensure(m.Lock)
	if l == nil {
		o.refuse(m.Inst, m.Round, Message{Reason: Full})
		return
	}
	if b := l.belief(m.Inst); b != nil && b.round >= m.Round {
		o.n.send(m.Inst.Node, Message{Kind: Granted, Lock: l.name, Inst: b.inst, Round: b.round, Token: b.token})
		return
	}
	w := l.waiter(m.Inst)
	if w == nil {
		if len(l.queue) >= o.n.cfg.MaxQueue {
			o.refuse(m.Inst, m.Round, Message{Reason: Full})
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
	m := Message{Reason: Behind}
	switch {
	case w.trial != nil && w.trial.tries > 2:
		m = o.shortOf(w.trial)
	case w.trial == nil:
		m = o.heldBy(t, l, w)
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
	o.refuse(w.inst, w.round, why)
	o.advance(t, l)
}

// renew extends a lease. That its client says so is reason enough to believe that
// it holds the lock.
func (o *owner) renew(t Time, m *Message) {
	if !o.admit(m) {
		return
	}
	l := o.ensure(m.Lock)
	if l == nil {
		o.refuse(m.Inst, m.Round, Message{Reason: Full})
		return
	}
	if r := o.rounds[m.Inst]; r != nil {
		if r.no >= m.Round {
			return
		}
		o.drop(r)
	}
	b := l.belief(m.Inst)
	if b != nil && b.round >= m.Round {
		o.n.send(m.Inst.Node, Message{Kind: Granted, Lock: l.name, Inst: b.inst, Round: b.round, Token: b.token})
		return
	}
	if b == nil {
		l.holders = append(l.holders, belief{inst: m.Inst, mode: m.Mode, token: m.Token})
		b = &l.holders[len(l.holders)-1]
	}
	b.until = max(b.until, t.Mono+m.TTL)
	if w := l.waiter(m.Inst); w != nil {
		l.remove(w)
	}
	o.schedule(t, l)
	o.propose(t, &round{lock: l, inst: m.Inst, mode: m.Mode, no: m.Round, token: m.Token, ttl: m.TTL})
}

// release ends an instance, as its own client says, and hands the lock on: the next
// proposal names the dead one, so it need not wait for the acceptors to clear it.
func (o *owner) release(t Time, m *Message) {
	o.remember(m.Inst)
	if r := o.rounds[m.Inst]; r != nil {
		o.drop(r)
	}
	if o.clears[m.Inst] == nil {
		c := &clearing{lock: m.Lock, inst: m.Inst}
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

// remember notes that a client released its instance, the only evidence that lets
// another one supersede it (O4).
func (o *owner) remember(inst Inst) {
	if o.released[inst] {
		return
	}
	delete(o.released, o.ring[o.ringAt])
	o.released[inst], o.ring[o.ringAt] = true, inst
	o.ringAt = (o.ringAt + 1) % len(o.ring)
}

func (o *owner) clear(t Time, c *clearing) {
	if c.tries > 6 { // its client asks again, or its record expires
		o.n.alarms.stop(&c.alarm)
		delete(o.clears, c.inst)
		return
	}
	for i, name := range o.n.voters.Names {
		if c.acks&(1<<i) == 0 {
			o.n.send(name, Message{Kind: Clear, Lock: c.lock, Inst: c.inst})
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
		o.n.send(c.inst.Node, Message{Kind: Released, Inst: c.inst})
	}
}

// advance proposes whoever is next. Writers and readers keep the order in which
// they asked, so that no reader overtakes a writer; readers next to each other go
// together.
func (o *owner) advance(t Time, l *owned) {
	l.expire(t.Mono)
	for i := 0; i < len(l.queue); i++ {
		w := l.queue[i]
		if w.trial == nil {
			if i > 0 && w.mode == Exclusive || l.blocked(w) {
				break
			}
			w.trial = &round{lock: l, inst: w.inst, mode: w.mode, no: w.round, ttl: w.ttl, waiter: w}
			w.trial.token = o.tokens.next(t.Wall)
			o.propose(t, w.trial)
		}
		if w.mode == Exclusive {
			break
		}
	}
	o.schedule(t, l)
}

// schedule sets the next review of a lock, or forgets it.
func (o *owner) schedule(t Time, l *owned) {
	if len(l.queue) == 0 && len(l.holders) == 0 {
		o.n.alarms.stop(&l.alarm)
		if o.locks[l.name] == l {
			delete(o.locks, l.name)
		}
		return
	}
	at := t.Mono + LeastTTL
	if len(l.queue) == 0 {
		at = l.holders[0].until
	}
	for _, b := range l.holders {
		at = min(at, b.until)
	}
	o.n.alarms.set(&l.alarm, max(at, t.Mono+1))
}

// review drops what has run out, and goes on.
func (o *owner) review(t Time, l *owned) {
	for i := 0; i < len(l.queue); i++ {
		if w := l.queue[i]; w.seen+w.ttl <= t.Mono { // nobody is behind it any more
			if w.trial != nil {
				o.drop(w.trial)
			}
			l.remove(w)
			i--
		}
	}
	o.advance(t, l)
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
		Supersedes: r.supersedes, Epoch: r.epoch}
	if r.waiter == nil {
		m.Flags = flagRenew
	}
	for i, name := range o.n.voters.Names {
		if (r.acks|r.held|r.low)&(1<<i) == 0 {
			o.n.send(name, m)
		}
	}
	r.sent = t.Mono
	o.n.alarms.set(&r.alarm, t.Mono+o.n.retry(r.tries))
	r.tries++
}

// again proposes a round anew to all, with a token above those that were in the
// way (O2). The client of a renewal keeps its first token.
func (o *owner) again(t Time, r *round) {
	o.tokens.raise(r.floor)
	r.token = o.tokens.next(t.Wall)
	r.epoch = o.n.voters.Epoch
	r.acks, r.held, r.low, r.other, r.never, r.heldBy, r.tries = 0, 0, 0, 0, 0, nil, 0
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
	r.acks, r.held, r.low, r.other, r.never = r.acks&^bit, r.held&^bit, r.low&^bit, r.other&^bit, r.never&^bit
	return r, bit
}

func (o *owner) ack(t Time, from string, m *Message) {
	if r, bit := o.answered(t, from, m); r != nil && m.Epoch == r.epoch {
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
	case TooLong, WrongConfig, Full:
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
	case without(r.held|r.low|r.other) >= need: // not all have answered
	case without(r.never) < need && r.waiter != nil:
		o.fail(t, r, r.why)
	case without(r.other) < need: // no quorum: keep asking
	case r.held != 0 && r.waiter != nil && o.supersede(r):
		o.again(t, r)
	case without(r.held|r.other) >= need:
		o.again(t, r)
	case r.waiter != nil:
		o.blocked(t, r)
	case without(r.held) < need:
		o.drop(r)
		o.refuse(r.inst, r.no, Message{Reason: Overtaken, Holder: r.heldBy[0].inst})
	}
}

// supersede names those in the way that their clients released meanwhile, and
// reports whether there were any (O4).
func (o *owner) supersede(r *round) (found bool) {
	for _, b := range r.heldBy {
		if o.released[b.inst] && !slices.Contains(r.supersedes, b.inst) && len(r.supersedes) < maxSupersedes {
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
	o.n.send(r.inst.Node, Message{Kind: Granted, Lock: r.lock.name, Inst: r.inst, Round: r.no, Token: r.token})
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

func (l *owned) belief(inst Inst) *belief {
	for i := range l.holders {
		if l.holders[i].inst == inst {
			return &l.holders[i]
		}
	}
	return nil
}

// learn takes what an acceptor says of a holder.
func (l *owned) learn(b belief) {
	if old := l.belief(b.inst); old != nil {
		old.until = max(old.until, b.until)
		return
	}
	l.holders = append(l.holders, b)
}

func (l *owned) expire(now time.Duration) {
	l.holders = slices.DeleteFunc(l.holders, func(b belief) bool { return b.until <= now })
}

// blocked reports whether a holder or a proposal is in the way of w.
func (l *owned) blocked(w *waiter) bool {
	return slices.ContainsFunc(l.holders, func(b belief) bool { return b.inst != w.inst && b.mode.conflicts(w.mode) })
}

func (l *owned) waiter(inst Inst) *waiter {
	for _, w := range l.queue {
		if w.inst == inst {
			return w
		}
	}
	return nil
}

// insert puts w behind those who asked before it.
func (l *owned) insert(w *waiter) {
	i := len(l.queue)
	for i > 0 && l.queue[i-1].trial == nil && l.queue[i-1].asked > w.asked {
		i--
	}
	l.queue = slices.Insert(l.queue, i, w)
}

func (l *owned) remove(w *waiter) {
	if i := slices.Index(l.queue, w); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
}
