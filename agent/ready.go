package agent

import (
	"context"
	"fmt"
	"time"
)

// Ready reports whether this peer has synced with one other since it started, or
// was given nobody to sync with; never after Close.
func (a *Agent) Ready() bool {
	if a.isClosed() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replica.View().Synced() || len(a.cfg.Seeds) == 0 && len(a.replica.View().Living()) == 0
}

// WaitReady waits until Ready.
func (a *Agent) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !a.Ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not synced with any peer yet: %w", ctx.Err())
		case <-a.closing:
			return ErrClosed
		case <-tick.C:
		}
	}
	return nil
}
