package lockservice

import (
	"context"
	"slices"
	"time"
)

// line is where the callers of one session queue for one lock, behind one that has made
// its call: only that one has an entry in the queue of the owner, so a session with many
// callers gets no more than its share. Who gives up leaves the place of its entry to
// the next. The session's mu is held in all methods.
type line struct {
	s       *Session
	lock    string
	waiting []*caller
	asked   time.Duration // when the entry that was given up was made; 0: none was
}

// caller is who wants a lock.
type caller struct {
	Call
	ctx     context.Context     // whose values the lease carries
	asked   time.Duration       // when
	line    *line               // where it waits, once it has joined
	id      uint64              // of the call, once it is made
	decided func(*Lease, error) // called once, with Session.mu held, unless the caller gives up
}

// join makes the call, or has it wait for its turn. Who only tries does not wait behind
// another, unless both would share. The session's mu is held.
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

// joinAlone is join of a caller that waits behind nobody.
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

// step has the first that can make its call.
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

// ask makes the call of the first.
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
			l.asked = 0 // the next one is behind this lease, at the end of the queue
			w.decided(s.hold(w, r), nil)
		}
		l.step(t)
	}
	return nil
}

// withdraw ends the call of a caller that gives up, and returns what kept it from the
// lock; false if it is decided already.
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
