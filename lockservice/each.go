package lockservice

import (
	"context"
	"fmt"
)

// Tried is what TryEach got for one name: a lease, or why there is none.
type Tried struct {
	Lease *Lease
	Err   error
}

// TryEach is TryLock for many names at once, in the packets of one. The answers are
// in the order of names; a name given twice is held once.
func (s *Session) TryEach(ctx context.Context, names []string, opts ...Option) []Tried {
	out := make([]Tried, len(names))
	calls := make([]Call, len(names))
	for i, name := range names {
		calls[i] = s.call(name, true, opts)
		if out[i].Err = validateName(name); out[i].Err == nil {
			out[i].Err = s.cfg.Node.validateTTL(calls[i].TTL)
		}
	}
	base := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	results := s.tryAll(calls, out)
	for results.left > 0 {
		select {
		case r := <-results.c:
			results.left--
			i := results.index[r.ID]
			delete(results.index, r.ID)
			if out[i].Err = r.Err; r.Err == nil {
				out[i].Lease, out[i].Err = s.hold(base, calls[i], r)
			}
		case <-ctx.Done():
			for id, i := range results.index { // each for itself: no order
				out[i].Err = s.giveUp(ctx, calls[i], id)
			}
			results.left = 0
		}
	}
	for _, name := range results.lines {
		s.leaveLine(name, true)
	}
	return out
}

// tries are the calls of one TryEach.
type tries struct {
	c     chan Result
	left  int
	index map[uint64]int // by call
	lines []string       // the locks whose line we head
}

// tryAll starts the calls that have no error yet.
func (s *Session) tryAll(calls []Call, out []Tried) tries {
	all := tries{c: make(chan Result, len(calls)), index: make(map[uint64]int, len(calls))} // one answer each
	s.do(func(t Time) {
		for i := range calls {
			if out[i].Err != nil {
				continue
			}
			lock := calls[i].Lock
			if s.closed {
				out[i].Err = ErrClosed
				continue
			}
			if s.lines[lock] != nil {
				out[i].Err = &HeldError{Lock: lock}
				continue
			}
			id, err := s.node.Acquire(t, calls[i])
			if out[i].Err = err; err != nil {
				continue
			}
			s.lines[lock] = &line{asked: t.Mono}
			all.lines = append(all.lines, lock)
			all.index[id] = i
			all.left++
			s.pending[id] = func(r Result) { all.c <- r }
		}
	})
	return all
}

// ConfirmEach waits until a majority of voters has certified each lease in a round
// that began after the call: every voter of that majority was asked while the lease
// was held. The error of each is nil, or says why that is not known.
func (s *Session) ConfirmEach(ctx context.Context, leases []*Lease) []error {
	errs := make([]error, len(leases))
	rounds := make([]uint64, len(leases))
	s.do(func(t Time) {
		for i, l := range leases {
			rounds[i], errs[i] = s.node.Confirm(t, l.id)
		}
	})
	for i, l := range leases {
		if errs[i] == nil {
			errs[i] = l.confirmed(ctx, rounds[i])
		}
	}
	return errs
}

// confirmed waits for a round, or a later one.
func (l *Lease) confirmed(ctx context.Context, round uint64) error {
	for {
		l.mu.Lock()
		over, done, renewed := l.over, l.round >= round, l.renewed
		l.mu.Unlock()
		switch {
		case over:
			return l.Err()
		case done:
			return nil
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return fmt.Errorf("lock %q: %w: %w", l.name, ErrTimeout, context.Cause(ctx))
		}
	}
}

// UnlockEach starts an Unlock of each lease and waits for none; see [Lease.Unlock].
func UnlockEach(leases []*Lease) { releaseAll(leases) }
