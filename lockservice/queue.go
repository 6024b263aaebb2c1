package lockservice

import (
	"slices"
	"time"
)

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

// schedule sees to the next review of a lock, which may come early, or forgets it.
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

func (l *owned) belief(inst Inst) *belief {
	for i := range l.holders {
		if l.holders[i].inst == inst {
			return &l.holders[i]
		}
	}
	return nil
}

// believe takes what a holder says of itself.
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
