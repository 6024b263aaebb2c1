package lockservice

import (
	"context"
	"slices"
	"time"
)

// line queues the callers of one session for one lock. Only the first of them has a call at the
// node, and so an entry in the queue of the owner: a session with many callers gets no more
// than its share. A caller that gives up leaves the position of its entry to the next
// caller. The caller of every method holds Session.mu.
type line struct {
	s       *Session
	lock    string
	waiting []*caller     // the callers without a call, in order
	asked   time.Duration // when the first entry since the last grant was made, 0 if there was none
}

// caller is one goroutine's request for a lock.
type caller struct {
	Call
	ctx     context.Context     // its values become those of the lease's context
	asked   time.Duration       // when the caller joined the line
	line    *line               // nil until the caller has joined
	id      uint64              // ID of the call, 0 until it is made
	decided func(*Lease, error) // called once, with Session.mu held, unless the caller gives up
}

// join makes the call, or queues it behind others of this session. An exclusive try does not
// wait behind another call: it fails with a *HeldError. The caller holds Session.mu.
func (s *Session) join(t Time, w *caller) error {
	w.asked = t.Mono
	l := s.lines[w.Lock]
	switch {
	case l == nil:
		l = &line{s: s, lock: w.Lock, waiting: []*caller{w}}
		s.lines[w.Lock], w.line = l, l
		l.step(t)
	case w.Try && w.Mode == Exclusive:
		return &HeldError{Lock: w.Lock}
	default:
		w.line, l.waiting = l, append(l.waiting, w)
	}
	return nil
}

// joinAlone joins like join, and fails with a *HeldError if other calls of this session wait.
func (s *Session) joinAlone(t Time, w *caller) error {
	if err := validateName(w.Lock); err != nil {
		return err
	}
	if err := s.cfg.Node.validateTTL(w.TTL); err != nil {
		return err
	}
	if s.lines[w.Lock] != nil {
		return &HeldError{Lock: w.Lock}
	}
	return s.join(t, w)
}

// step makes the call of the first caller for which that succeeds, and refuses those before it.
func (l *line) step(t Time) {
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		l.waiting = slices.Delete(l.waiting, 0, 1)
		err := l.ask(t, w)
		if err == nil {
			return
		}
		w.decided(nil, err)
	}
	delete(l.s.lines, l.lock)
}

// ask makes the call of w, with the time for which this line has waited: the entry takes the
// position of one that was given up.
func (l *line) ask(t Time, w *caller) (err error) {
	s := l.s
	if s.closed {
		return ErrClosed
	}
	if l.asked == 0 {
		l.asked = t.Mono
	}
	w.Waited = t.Mono - l.asked
	if w.id, err = s.node.Acquire(t, w.Call); err != nil {
		return err
	}
	s.pending[w.id] = func(t Time, r Result) {
		if r.Err != nil {
			w.decided(nil, r.Err)
		} else {
			l.asked = 0 // the session has had its turn: its next entry goes to the end of the queue
			w.decided(s.hold(w, r), nil)
		}
		l.step(t)
	}
	return nil
}

// withdraw ends the call of a caller that gives up, and returns what kept it from the lock; ok is
// false if the call has been decided already, and then the result stands.
func (w *caller) withdraw(t Time) (obstacle error, ok bool) {
	l := w.line
	s := l.s
	if w.id == 0 {
		l.waiting = slices.DeleteFunc(l.waiting, func(o *caller) bool { return o == w })
		return s.node.ObstacleOf(w.Lock), true
	}
	if s.pending[w.id] == nil {
		return nil, false
	}
	obstacle = s.node.Obstacle(w.id)
	delete(s.pending, w.id)
	_ = s.node.Release(t, w.id)
	l.step(t)
	return obstacle, true
}
