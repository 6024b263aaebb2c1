package lockservice

import (
	"context"
	"slices"
	"time"
)

// line is where the callers of one session queue for one lock: only the first of
// them has an entry in the queue of its owner, so a session with many of them gets
// no more than its share. Who gives up leaves the place of its entry to the next.
type line struct {
	waiting []chan struct{} // each of capacity 1: told once
	asked   time.Duration   // when the entry that was given up was made; 0: none was
}

// place returns when the entry of the caller at the head counts from.
func (s *Session) place(lock string, now time.Duration) time.Duration {
	if asked := s.lines[lock].asked; asked != 0 {
		return asked
	}
	s.lines[lock].asked = now
	return now
}

// join waits for the place at the head of the line. Who only tries does not wait
// behind another, unless both would share.
func (s *Session) join(ctx context.Context, c Call) error {
	s.mu.Lock()
	l := s.lines[c.Lock]
	if l == nil {
		s.lines[c.Lock] = &line{}
		s.mu.Unlock()
		return nil
	}
	if c.Try && c.Mode == Exclusive {
		s.mu.Unlock()
		return &HeldError{Lock: c.Lock}
	}
	turn := make(chan struct{}, 1)
	l.waiting = append(l.waiting, turn)
	s.mu.Unlock()
	var err error
	select {
	case <-turn:
		return nil
	case <-s.done:
		err = ErrClosed
	case <-ctx.Done():
		err = timeout(ctx, c.Lock, s.lineObstacle(c.Lock))
	}
	s.mu.Lock()
	i := slices.Index(l.waiting, turn)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // our turn came meanwhile
		s.leaveLine(c.Lock, false)
	}
	return err
}

// leaveLine lets the next one step forward; behind a lease, at the end of the queue.
func (s *Session) leaveLine(lock string, got bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[lock]
	if got {
		l.asked = 0
	}
	if len(l.waiting) == 0 {
		delete(s.lines, lock)
		return
	}
	l.waiting[0] <- struct{}{}
	l.waiting = slices.Delete(l.waiting, 0, 1)
}

// lineObstacle returns what keeps the head of the line from the lock.
func (s *Session) lineObstacle(lock string) (err error) {
	s.do(func(Time) { err = s.node.ObstacleOf(lock) })
	return err
}
