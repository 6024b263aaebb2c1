package lockservice

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// MultiLease is several locks held together. It is over when the first of them is.
type MultiLease struct {
	leases []*Lease
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// LockAll waits until this session holds all of names, or none. They are taken in
// the order of their names, so two who want the same locks do not block each other
// for ever; a name given twice counts once. Besides the errors of Lock it fails
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
		UnlockEach(held) // one was lost while we waited for the next
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(50 * time.Millisecond)))):
		case <-bounded.Done():
			return nil, timeout(bounded, names[0], nil)
		}
	}
}

// lockEach takes one lock after the other, and leaves nothing behind on failure.
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

// Leases returns the single leases, by name. They belong to m: unlock them with it.
func (m *MultiLease) Leases() []*Lease { return slices.Clone(m.leases) }

// Token returns the fencing token of one of the locks, 0 if name is none of them.
// Each lock has its own; they are not comparable.
func (m *MultiLease) Token(name string) uint64 {
	for _, l := range m.leases {
		if l.name == name {
			return l.token
		}
	}
	return 0
}

// Context is cancelled when the first of the leases ends, with its cause.
func (m *MultiLease) Context() context.Context { return m.ctx }

// Done is closed when the first of the leases ends.
func (m *MultiLease) Done() <-chan struct{} { return m.ctx.Done() }

// Remaining returns how long all are held without another renewal.
func (m *MultiLease) Remaining() time.Duration {
	least := m.leases[0].Remaining()
	for _, l := range m.leases[1:] {
		least = min(least, l.Remaining())
	}
	return least
}

// Unlock ends all leases and waits for all; see [Lease.Unlock].
func (m *MultiLease) Unlock(ctx context.Context) error {
	UnlockEach(m.leases)
	m.cancel(context.Canceled)
	var all []error
	for _, l := range m.leases {
		all = append(all, l.Unlock(ctx))
	}
	return errors.Join(all...)
}
