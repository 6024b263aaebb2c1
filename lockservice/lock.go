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

// WithManualRenewal leaves renewing to [Lease.Renew]. Such a lease is not released by
// Session.Close; it runs out.
func WithManualRenewal() Option { return func(c *Call) { c.Manual = true } }

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
	return s.acquire(ctx, s.call(name, try, opts))
}

func (s *Session) call(lock string, try bool, opts []Option) Call {
	c := Call{Lock: lock, TTL: s.cfg.TTL}
	for _, o := range opts {
		o(&c)
	}
	c.Try = try
	return c
}

func (s *Session) acquire(ctx context.Context, c Call) (l *Lease, err error) {
	if err := s.cfg.Node.validateTTL(c.TTL); err != nil {
		return nil, fmt.Errorf("lock %q: %w", c.Lock, err)
	}
	base := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return nil, timeout(ctx, c.Lock, nil)
	}
	if err := s.join(ctx, c); err != nil {
		return nil, err
	}
	defer func() { s.leaveLine(c.Lock, err == nil) }()
	id, result, err := s.start(func(t Time) (uint64, error) {
		c.Waited = t.Mono - s.place(c.Lock, t.Mono)
		return s.node.Acquire(t, c)
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return s.hold(base, c, r)
	case <-ctx.Done():
		return nil, s.giveUp(ctx, c, id)
	}
}

// giveUp ends a call whose context has ended, also if it was granted meanwhile.
func (s *Session) giveUp(ctx context.Context, c Call, id uint64) (err error) {
	s.do(func(t Time) {
		err = s.node.Obstacle(id)
		delete(s.pending, id)
		_ = s.node.Release(t, id)
	})
	return timeout(ctx, c.Lock, err)
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
