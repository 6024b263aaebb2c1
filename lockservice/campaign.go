package lockservice

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Campaign waits until this session leads a role, however long that takes, and then
// calls lead with the fencing token of its term. The context of lead ends with the
// lease, a little before another can lead, and with ctx. When lead returns, the
// session resigns, and Campaign returns what lead did; but if the lease was lost
// meanwhile, it campaigns again. It returns the cause of ctx when that ends first.
func (s *Session) Campaign(ctx context.Context, role string, lead func(ctx context.Context, token uint64) error, opts ...Option) error {
	for {
		l, err := s.elect(ctx, role, opts)
		if err != nil {
			return err
		}
		term, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(l.ctx, func() { cancel(l.Err()) })
		err = lead(term, l.token)
		stop()
		cancel(context.Canceled)
		lost := l.Err() != nil
		resign, done := context.WithTimeout(context.WithoutCancel(ctx), l.ttl)
		_ = l.Unlock(resign) // if nobody hears, the next term begins a TTL later
		done()
		if !lost || ctx.Err() != nil || errors.Is(l.Err(), ErrClosed) {
			return err
		}
	}
}

// elect waits for the lease of a role through everything that may pass.
func (s *Session) elect(ctx context.Context, role string, opts []Option) (*Lease, error) {
	for {
		l, err := s.Lock(ctx, role, opts...)
		switch {
		case err == nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, err
		case errors.Is(err, ErrTimeout), errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull), errors.Is(err, ErrLost):
			s.cfg.Logger.Debug("campaign goes on", "role", role, "err", err)
		default:
			return nil, err
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(100 * time.Millisecond)))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
