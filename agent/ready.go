package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Ready reports whether this peer has synced with one other since it started, or
// was given nobody to sync with; never after Close.
func (a *Agent) Ready() (ready bool) {
	if a.mem.Closed() {
		return false
	}
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		ready = r.View().Synced() || len(a.cfg.Seeds) == 0 && len(r.View().Living()) == 0
	})
	return ready
}

// WaitReady waits until Ready.
func (a *Agent) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !a.Ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not synced with any peer yet: %w", ctx.Err())
		case <-a.mem.Closing():
			return ErrClosed
		case <-tick.C:
		}
	}
	return nil
}
