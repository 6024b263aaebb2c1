package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Ready reports whether this peer has synced with at least one other peer since it started. It also
// reports true for a peer without Config.Seeds while no other peer is up, and false after Close.
func (a *Agent) Ready() (ready bool) {
	if a.mem.Closed() {
		return false
	}
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		ready = r.View().Synced() || len(a.cfg.Seeds) == 0 && len(r.View().Living()) == 0
	})
	return ready
}

// WaitReady waits until Ready reports true. It fails with the error of ctx and with ErrClosed.
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
