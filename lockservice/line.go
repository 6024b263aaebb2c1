package lockservice

import (
	"context"
	"slices"
	"time"
)

// line is where the callers of one session queue for one lock, behind one that has made
// its call: only that one has an entry in the queue of the owner, so a session with many
// callers gets no more than its share. Who gives up leaves the place of its entry to
// the next.
type line struct {
	waiting []*caller
	asked   time.Duration // when the entry that was given up was made; 0: none was
}

// caller is who wants a lock.
type caller struct {
	Call
	ctx     context.Context     // whose values the lease carries
	asked   time.Duration       // when
	id      uint64              // of the call, once it is made
	decided func(*Lease, error) // called once, with Session.mu held, unless the caller gives up
}

// join makes the call, or has it wait for its turn. Who only tries does not wait behind
// another, unless both would share. It is called with mu held, as all here.
func (s *Session) join(t Time, w *caller) error {
	w.asked = t.Mono
	l := s.lines[w.Lock]
	switch {
	case l == nil:
		s.lines[w.Lock] = &line{waiting: []*caller{w}}
		s.step(t, w.Lock)
	case w.Try && w.Mode == Exclusive:
		return &HeldError{Lock: w.Lock}
	default:
		l.waiting = append(l.waiting, w)
	}
	return nil
}

// step has the first of a line that can make its call.
func (s *Session) step(t Time, lock string) {
	l := s.lines[lock]
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		l.waiting = slices.Delete(l.waiting, 0, 1)
		err := s.ask(t, l, w)
		if err == nil {
			return
		}
		w.decided(nil, err)
	}
	delete(s.lines, lock)
}

// ask makes the call of who heads a line.
func (s *Session) ask(t Time, l *line, w *caller) (err error) {
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
		s.step(t, w.Lock)
	}
	return nil
}

// withdraw ends the call of a caller that gives up, and returns what kept it from the
// lock; false if it is decided already.
func (s *Session) withdraw(t Time, w *caller) (obstacle error, ok bool) {
	if w.id == 0 {
		l := s.lines[w.Lock]
		l.waiting = slices.DeleteFunc(l.waiting, func(o *caller) bool { return o == w })
		return s.node.ObstacleOf(w.Lock), true
	}
	if s.pending[w.id] == nil {
		return nil, false
	}
	obstacle = s.node.Obstacle(w.id)
	delete(s.pending, w.id)
	_ = s.node.Release(t, w.id)
	s.step(t, w.Lock)
	return obstacle, true
}
