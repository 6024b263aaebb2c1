package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// allLiving is a number of peers for waitReplicated: every other peer that is up.
const allLiving = -1

// WaitReplicated waits until n other peers have acknowledged everything that was written here before
// the call. It fails with a *ReplicationError if ctx ends first, although the writes continue to
// spread. It fails with ErrRotated if a copy of this peer turns up meanwhile, and with ErrClosed.
func (a *Agent) WaitReplicated(ctx context.Context, n int) error {
	if a.mem.Closed() {
		return ErrClosed
	}
	if n < 0 {
		return fmt.Errorf("wait for %d peers: want 0 or more", n)
	}
	return waitReplicated(ctx, a.mem, n, a.mem.Closing())
}

// waitReplicated is WaitReplicated, and ends with ErrClosed only when closing is closed.
func waitReplicated(ctx context.Context, m *memory.Memory, n int, closing <-chan struct{}) error {
	have, missing := 0, []string(nil)
	err := m.Acked(ctx, memory.Wait{Again: time.Second, Closing: closing, Enough: func(v replica.View, last uint64) bool {
		have, missing = v.Replicas(last)
		if n == allLiving {
			return len(missing) == 0
		}
		return have >= n
	}})
	if err == nil || err != ctx.Err() {
		return err
	}
	if n == allLiving {
		n = have + len(missing)
	}
	return &ReplicationError{Want: n, Have: have, Missing: missing, Err: err}
}

// ForceSync sends what waits for the batch interval. It returns when everything that was written
// before the call has been handed to the transport for every peer that is up. The other peers may not
// have it yet: see WaitReplicated. It fails with the error of ctx and with ErrClosed.
func (a *Agent) ForceSync(ctx context.Context) error {
	err := a.mem.Flush(ctx)
	if err == nil {
		a.bus.emit(LifecycleEvent{Type: ForcedSync})
	}
	return err
}
