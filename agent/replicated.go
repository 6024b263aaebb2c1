package agent

import (
	"context"
	"fmt"
	"time"
)

// allLiving asks waitReplicated for every peer that is up.
const allLiving = -1

// WaitReplicated waits until n other peers have acknowledged everything written
// here before the call. If ctx ends first, it returns a *ReplicationError; the
// writes go on spreading. If a copy of this peer turns up meanwhile: ErrRotated.
func (a *Agent) WaitReplicated(ctx context.Context, n int) error {
	if a.isClosed() {
		return ErrClosed
	}
	if n < 0 {
		return fmt.Errorf("wait for %d peers: want 0 or more", n)
	}
	return a.waitReplicated(ctx, n, a.closing)
}

// waitReplicated gives up when closing is.
func (a *Agent) waitReplicated(ctx context.Context, n int, closing <-chan struct{}) error {
	a.mu.Lock()
	last, actor := a.store.Last(), a.replica.Actor()
	a.mu.Unlock()
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		a.mu.Lock()
		have, missing := a.replica.View().Replicas(last)
		acked, rotated := a.acked, a.replica.Actor() != actor
		done := have >= n
		if n == allLiving {
			done = len(missing) == 0
		}
		if !done {
			a.replica.RequestAcks(time.Now())
		}
		a.mu.Unlock()
		switch {
		case rotated:
			return ErrRotated
		case done:
			return nil
		}
		a.signal()
		select {
		case <-acked:
		case <-retry.C:
		case <-closing:
			return ErrClosed
		case <-ctx.Done():
			if n == allLiving {
				n = have + len(missing)
			}
			return &ReplicationError{Want: n, Have: have, Missing: missing, Err: ctx.Err()}
		}
	}
}

// ForceSync returns when everything written before the call has been handed to
// the transport of every peer that is up. That is not yet an acknowledgement: see
// WaitReplicated.
func (a *Agent) ForceSync(ctx context.Context) error {
	if a.isClosed() {
		return ErrClosed
	}
	done := make(chan struct{})
	a.mu.Lock()
	a.replica.Flush(time.Now())
	a.waiters = append(a.waiters, done)
	a.mu.Unlock()
	a.signal()
	select {
	case <-done:
		a.emit(LifecycleEvent{Type: ForcedSync})
		return nil
	case <-ctx.Done():
		return fmt.Errorf("force sync: %w", ctx.Err())
	case <-a.closing:
		return ErrClosed
	}
}
