package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Wait is a wait for acknowledgements of what was written here before.
type Wait struct {
	// Enough is asked under the lock: first, then whenever acknowledgements came. last is
	// the number of the last write.
	Enough func(v replica.View, last uint64) bool
	// Again is how often it is asked all the same, and so are the others.
	Again time.Duration
	// Matters, if set, is asked without the lock whether to go on; its error ends the wait.
	Matters func() error
	// Closing, if not nil, ends the wait with ErrClosed.
	Closing <-chan struct{}
}

// Acked waits until the others have acknowledged enough. It fails with the error of ctx,
// with ErrRotated if this peer goes on as another actor meanwhile, and as Wait says.
func (m *Memory) Acked(ctx context.Context, w Wait) error {
	m.mu.Lock()
	last, actor := m.store.Last(), m.replica.Actor()
	m.mu.Unlock()
	again := time.NewTicker(w.Again)
	defer again.Stop()
	for {
		m.mu.Lock()
		enough := w.Enough(m.replica.View(), last)
		acked, rotated := m.acked, m.replica.Actor() != actor
		if !enough {
			m.replica.RequestAcks(time.Now())
		}
		m.mu.Unlock()
		switch {
		case rotated:
			return ErrRotated
		case enough:
			return nil
		case w.Matters != nil:
			if err := w.Matters(); err != nil {
				return err
			}
		}
		m.Signal()
		select {
		case <-acked:
		case <-again.C:
		case <-w.Closing:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush returns when everything written before the call has been handed over for every
// peer that is up.
func (m *Memory) Flush(ctx context.Context) error {
	if m.Closed() {
		return ErrClosed
	}
	done := make(chan struct{})
	m.mu.Lock()
	m.replica.Flush(time.Now())
	m.waiters = append(m.waiters, done)
	m.mu.Unlock()
	m.Signal()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("force sync: %w", ctx.Err())
	case <-m.closing:
		return ErrClosed
	}
}
