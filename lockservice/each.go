package lockservice

import (
	"context"
	"fmt"
	"slices"
)

// Tried is the result of TryEach for one name: a lease or an error.
type Tried struct {
	Lease *Lease
	Err   error
}

// TryEach does TryLock for many names at once, with shared packets. The result has one element
// for each of names, in their order; of a name that is given twice, one fails with ErrHeld.
func (s *Session) TryEach(ctx context.Context, names []string, opts ...Option) []Tried {
	out := make([]Tried, len(names))
	callers := make([]caller, len(names))
	decided := make(chan struct{}, len(names)) // each caller sends once and must not block
	for i, name := range names {
		callers[i] = caller{Call: s.cfg.call(name, true, opts), ctx: ctx, decided: func(l *Lease, err error) {
			out[i] = Tried{l, err}
			decided <- struct{}{}
		}}
	}
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	s.do(func(t Time) {
		for i := range callers {
			if err := s.joinAlone(t, &callers[i]); err != nil {
				callers[i].decided(nil, err)
			}
		}
	})
	for range names {
		select {
		case <-decided:
			continue
		case <-ctx.Done():
		}
		s.do(func(t Time) {
			for i := range callers {
				if out[i] != (Tried{}) {
					continue
				}
				if obstacle, ok := callers[i].withdraw(t); ok {
					out[i].Err = timeout(ctx, names[i], obstacle)
				}
			}
		})
		break
	}
	return out
}

// ConfirmEach waits until a majority of voters has certified each lease in a round that began
// after the call, so that each of these voters was asked while the lease was held. The result
// has one element for each lease: nil, a *LostError, ErrNotHolder, or ErrTimeout if ctx ended
// first.
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

// confirmed waits until the round with this number, or a later one, has extended the lease.
func (l *Lease) confirmed(ctx context.Context, round uint64) error {
	for {
		l.mu.Lock()
		over, done := l.over, l.round >= round
		var renewed <-chan struct{}
		if !over && !done {
			renewed = l.renewal()
		}
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

// UnlockEach starts an Unlock of each lease, with shared packets, and does not wait for any; see
// [Lease.Unlock].
func UnlockEach(leases []*Lease) {
	for len(leases) > 0 {
		s := leases[0].s
		n := slices.IndexFunc(leases, func(l *Lease) bool { return l.s != s })
		if n < 0 {
			n = len(leases)
		}
		s.leaveEach(leases[:n])
		leases = leases[n:]
	}
}
