package lockservice

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Option changes one acquisition.
type Option func(*Call)

// WithTTL sets how long the lease lasts without a renewal: LeastTTL to Config.MaxTTL. With a short
// TTL the lock moves on sooner when its holder dies.
func WithTTL(ttl time.Duration) Option { return func(c *Call) { c.TTL = ttl } }

// WithShared holds the lock together with others who hold it shared.
func WithShared() Option { return func(c *Call) { c.Mode = Shared } }

// WithBearer leaves the renewal to [Lease.Renew]. Such a lease belongs to whoever has its
// [Lease.ID], and may be renewed and released at every peer, see [Session.Resume]. Session.Close
// does not release it: it ends by Unlock, or when its time runs out.
func WithBearer() Option { return func(c *Call) { c.Bearer = true } }

// WithClient sets a name under which surveys list this caller at every peer: up to MaxClientBytes
// of text without control characters. It is not secret.
func WithClient(name string) Option { return func(c *Call) { c.Client = name } }

// Lock waits until this session holds the lock name. Callers get the lock in the order in which
// they asked. Lock fails with ErrTimeout when ctx ends first, or with ErrUnavailable if too few
// voters answered until then. It fails at once with ErrName, ErrTTLTooLong, ErrTTLTooShort,
// ErrConfigMismatch, ErrBarred, ErrFull or ErrClosed. After an error nothing is held. A ctx
// without a deadline gets SessionConfig.MaxWait.
func (s *Session) Lock(ctx context.Context, name string, opts ...Option) (*Lease, error) {
	return s.named(ctx, name, false, opts)
}

// RLock does Lock with WithShared.
func (s *Session) RLock(ctx context.Context, name string, opts ...Option) (*Lease, error) {
	return s.named(ctx, name, false, append(opts[:len(opts):len(opts)], WithShared()))
}

// TryLock acquires like Lock, and does not wait for others: it fails with ErrHeld if another caller
// holds the lock or waits for it, and with ErrUnavailable if the voters have not decided within
// a third of the TTL.
func (s *Session) TryLock(ctx context.Context, name string, opts ...Option) (*Lease, error) {
	return s.named(ctx, name, true, opts)
}

func (s *Session) named(ctx context.Context, name string, try bool, opts []Option) (*Lease, error) {
	if err := validateName(name); err != nil {
		return nil, err
	}
	return s.acquire(ctx, s.cfg.call(name, try, opts))
}

func (c SessionConfig) call(lock string, try bool, opts []Option) Call {
	call := Call{Lock: lock, TTL: c.TTL}
	for _, o := range opts {
		o(&call)
	}
	call.Try = try
	return call
}

func (s *Session) acquire(ctx context.Context, c Call) (*Lease, error) {
	if err := s.cfg.Node.validateTTL(c.TTL); err != nil {
		return nil, fmt.Errorf("lock %q: %w", c.Lock, err)
	}
	if err := validateClient(c.Client); err != nil {
		return nil, fmt.Errorf("lock %q: %w", c.Lock, err)
	}
	w := &caller{Call: c, ctx: ctx}
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return nil, timeout(ctx, c.Lock, nil)
	}
	var lease *Lease
	var err error
	done := make(chan struct{})
	w.decided = func(l *Lease, e error) {
		lease, err = l, e
		close(done)
	}
	var refused error
	s.do(func(t Time) { refused = s.join(t, w) })
	if refused != nil {
		return nil, refused
	}
	select {
	case <-done:
		return lease, err
	case <-ctx.Done():
	}
	var obstacle error
	var withdrawn bool
	s.do(func(t Time) { obstacle, withdrawn = w.withdraw(t) })
	if withdrawn {
		return nil, timeout(ctx, c.Lock, obstacle)
	}
	return lease, err
}

// timeout returns the error of a call whose ctx has ended: its obstacle, or ErrTimeout if there is
// none.
func timeout(ctx context.Context, lock string, obstacle error) error {
	if u, ok := errors.AsType[*UnavailableError](obstacle); ok {
		u.Cause = context.Cause(ctx)
		return u
	}
	if obstacle != nil {
		return obstacle
	}
	return fmt.Errorf("lock %q: %w: %w", lock, ErrTimeout, context.Cause(ctx))
}
