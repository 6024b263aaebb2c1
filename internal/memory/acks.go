package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Wait describes what Acked waits for.
type Wait struct {
	// Enough reports whether enough peers have acknowledged the writes of this peer up to the
	// one with sequence number last. It is called with the lock held: at the start, after each
	// acknowledgement, and every Again.
	Enough func(v replica.View, last uint64) bool
	// Again is the interval at which the wait calls Enough and asks the other peers to
	// acknowledge once more, since such a request may be lost. It must be positive.
	Again time.Duration
	// Matters may be nil. It is called without the lock after each Enough that returned false,
	// and an error of it ends the wait.
	Matters func() error
	// Closing may be nil. When it is closed, the wait ends with ErrClosed.
	Closing <-chan struct{}
}

// Acked waits until other peers have acknowledged what was written here before the call, as far
// as w.Enough demands. It fails with the error of ctx, with ErrRotated if this peer starts to
// write as another actor meanwhile, with the error of w.Matters, and with ErrClosed.
func (m *Memory) Acked(ctx context.Context, w Wait) error {
	m.lock()
	last, actor := m.store.Last(), m.replica.Actor()
	m.mu.Unlock()
	again := time.NewTicker(w.Again)
	defer again.Stop()
	for {
		m.lock()
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

// Flush returns when the owner has handed everything that was written before the call to the
// transport, for every peer that is up. It fails with the error of ctx and with ErrClosed.
func (m *Memory) Flush(ctx context.Context) error {
	if m.Closed() {
		return ErrClosed
	}
	done := make(chan struct{})
	m.lock()
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
