package lockservice

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Campaign waits until this session holds the lock named role, however long that takes, and
// then calls lead with the fencing token of its term. The context of lead ends with ctx,
// and with the lease, a little before another session can lead. When lead returns, the
// session releases the lock, and Campaign returns the error of lead; but if the lease was
// lost meanwhile, it campaigns again. If ctx ends first, Campaign returns its cause. It
// also returns errors of Lock that waiting does not cure, such as ErrName and ErrClosed.
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
		_ = l.Unlock(resign) // if it fails, the next term begins up to a TTL later
		done()
		if !lost || ctx.Err() != nil || errors.Is(l.Err(), ErrClosed) {
			return err
		}
	}
}

// elect waits for the lease of a role, and tries again after errors that may pass.
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
