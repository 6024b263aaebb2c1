package lockservice

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// MultiLease holds several locks together. It ends when the first of its leases ends.
type MultiLease struct {
	leases []*Lease
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// LockAll waits until this session holds all the locks of names; after an error it holds none.
// Locks are taken in the order of their names, so that two callers that want the same locks
// cannot deadlock. A name that is given twice counts once. Besides the errors of Lock it fails
// with ErrName for an empty list.
func (s *Session) LockAll(ctx context.Context, names []string, opts ...Option) (*MultiLease, error) {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, &NameError{"", "no lock is named"}
	}
	bounded, cancel := s.cfg.bound(ctx)
	defer cancel()
	for {
		held, err := s.lockEach(bounded, names, opts)
		if err != nil {
			return nil, err
		}
		if m := together(ctx, held); m.ctx.Err() == nil {
			return m, nil
		}
		UnlockEach(held) // a lease was lost while the call waited for the next lock
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(50 * time.Millisecond)))):
		case <-bounded.Done():
			return nil, timeout(bounded, names[0], nil)
		}
	}
}

// lockEach takes one lock after the other. If one fails it releases those that it has.
func (s *Session) lockEach(ctx context.Context, names []string, opts []Option) (held []*Lease, err error) {
	for _, name := range names {
		l, err := s.Lock(ctx, name, opts...)
		if err != nil {
			UnlockEach(held)
			return nil, err
		}
		held = append(held, l)
	}
	return held, nil
}

func together(ctx context.Context, held []*Lease) *MultiLease {
	m := &MultiLease{leases: held}
	m.ctx, m.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	for _, l := range held {
		context.AfterFunc(l.ctx, func() { m.cancel(l.Err()) })
		if l.ctx.Err() != nil {
			m.cancel(l.Err())
		}
	}
	return m
}

// Leases returns the single leases, ordered by name. They belong to m: call m.Unlock, not theirs.
func (m *MultiLease) Leases() []*Lease { return slices.Clone(m.leases) }

// Token returns the fencing token of the lock name, 0 if m does not hold that lock. Tokens of
// different locks are not comparable.
func (m *MultiLease) Token(name string) uint64 {
	for _, l := range m.leases {
		if l.name == name {
			return l.token
		}
	}
	return 0
}

// Context returns a context that is cancelled, with the lease's cause, when the first lease ends.
func (m *MultiLease) Context() context.Context { return m.ctx }

// Done returns a channel that is closed when the first lease ends.
func (m *MultiLease) Done() <-chan struct{} { return m.ctx.Done() }

// Remaining returns how long all locks are held without another renewal, 0 once one lease is over.
func (m *MultiLease) Remaining() time.Duration {
	least := m.leases[0].Remaining()
	for _, l := range m.leases[1:] {
		least = min(least, l.Remaining())
	}
	return least
}

// Unlock ends all leases and waits for each; see [Lease.Unlock]. It joins their errors.
func (m *MultiLease) Unlock(ctx context.Context) error {
	UnlockEach(m.leases)
	m.cancel(context.Canceled)
	var all []error
	for _, l := range m.leases {
		all = append(all, l.Unlock(ctx))
	}
	return errors.Join(all...)
}
