package lockservice

import (
	"slices"
	"time"
)

// owned is the state of one lock at its owner: beliefs about holders, and the queue.
type owned struct {
	name    string
	queue   []*waiter // ordered by when their callers asked
	holders []belief
	dead    []Inst // instances released last, which the next proposal names (O4)
	alarm   alarm
}

// belief says that an instance holds a lock. It decides only when something is proposed (O1).
type belief struct {
	inst  Inst
	mode  Mode
	round uint64 // latest round that a majority certified for this owner; 0 if others told of the holder
	token uint64
	until time.Duration
}

// waiter is an instance in the queue of a lock.
type waiter struct {
	inst  Inst
	mode  Mode
	round uint64 // latest round that its client has sent
	ttl   time.Duration
	asked time.Duration // when its caller asked
	seen  time.Duration // when its client sent the latest round
	try   bool          // it is refused rather than left waiting
	trial *round        // its proposal that is not decided, nil if there is none
}

// advance proposes the head of the queue. Exclusive and shared waiters keep the order in which
// they asked, so that no shared waiter overtakes an exclusive one; shared waiters that follow
// each other are proposed together.
func (o *owner) advance(t Time, l *owned) {
	l.expire(t.Mono)
	for i := 0; i < len(l.queue); i++ {
		w := l.queue[i]
		if w.trial == nil {
			if i > 0 && w.mode == Exclusive || l.blocked(w) {
				break
			}
			w.trial = &round{lock: l, client: w.inst.Node, inst: w.inst, mode: w.mode, no: w.round, ttl: w.ttl, waiter: w}
			w.trial.token = o.tokens.next(t.Wall)
			o.propose(t, w.trial)
		}
		if w.mode == Exclusive {
			break
		}
	}
	o.schedule(t, l)
}

// schedule sets the next review of a lock, which may come earlier than needed. It forgets a lock
// without waiters and holders.
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
	o.n.alarms.by(&l.alarm, max(at, t.Mono+1))
}

// review drops waiters and beliefs whose time has run out, and proposes the next waiter.
func (o *owner) review(t Time, l *owned) {
	for i := 0; i < len(l.queue); i++ {
		if w := l.queue[i]; w.seen+w.ttl <= t.Mono { // its client has stopped sending rounds
			if w.trial != nil {
				o.drop(w.trial)
			}
			l.remove(w)
			i--
		}
	}
	o.advance(t, l)
}

func (l *owned) belief(inst Inst) *belief {
	for i := range l.holders {
		if l.holders[i].inst == inst {
			return &l.holders[i]
		}
	}
	return nil
}

// believe notes that the sender of a renewal says that it holds the lock.
func (l *owned) believe(t Time, m *Message) {
	b := l.belief(m.Inst)
	if b == nil {
		l.holders = append(l.holders, belief{inst: m.Inst, mode: m.Mode, token: m.Token})
		b = &l.holders[len(l.holders)-1]
	}
	b.until = max(b.until, t.Mono+m.TTL)
	if w := l.waiter(m.Inst); w != nil {
		l.remove(w)
	}
}

// learn notes a holder that an acceptor named in a Nack.
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

// blocked reports whether a believed holder other than w conflicts with w.
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

// insert puts w behind the waiters that asked before it, and behind those that are proposed.
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
