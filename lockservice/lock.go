package lockservice

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Option changes one acquire.
type Option func(*Call)

// WithTTL sets how long the lease lasts without a renewal: 500 ms to Config.MaxTTL.
// A short one moves the lock sooner when its holder dies.
func WithTTL(ttl time.Duration) Option { return func(c *Call) { c.TTL = ttl } }

// WithShared holds the lock together with others who hold it shared.
func WithShared() Option { return func(c *Call) { c.Mode = Shared } }

// WithManualRenewal leaves renewing to [Lease.Renew]. Such a lease belongs to whoever has
// its [Lease.ID], who may renew and release it at every peer, see [Session.Resume]; so
// Session.Close does not release it. It ends by Unlock, or runs out.
func WithManualRenewal() Option { return func(c *Call) { c.Manual = true } }

// WithClient names who asks, for those who look at locks at any peer: up to MaxClientBytes
// of text without control characters, and no secret.
func WithClient(name string) Option { return func(c *Call) { c.Client = name } }

// Lock waits until this session holds name, in the order in which all asked. It
// fails with ErrTimeout when ctx ends first, with ErrUnavailable if that was for
// want of a majority, and at once with ErrName, ErrTTLTooLong, ErrTTLTooShort,
// ErrConfigMismatch, ErrFull or ErrClosed. After an error nothing is held. A ctx
// without a deadline gets SessionConfig.MaxWait.
func (s *Session) Lock(ctx context.Context, name string, opts ...Option) (*Lease, error) {
	return s.named(ctx, name, false, opts)
}

// RLock is Lock with WithShared.
func (s *Session) RLock(ctx context.Context, name string, opts ...Option) (*Lease, error) {
	return s.named(ctx, name, false, append(opts[:len(opts):len(opts)], WithShared()))
}

// TryLock is Lock without waiting for others: it fails with ErrHeld if somebody
// holds the lock or waits for it, and with ErrUnavailable if a third of the TTL
// brings no decision.
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

// timeout returns what the end of ctx means for a call with an obstacle or none.
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
