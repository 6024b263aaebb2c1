package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// allLiving asks waitReplicated for every peer that is up.
const allLiving = -1

// WaitReplicated waits until n other peers have acknowledged everything written
// here before the call. If ctx ends first, it returns a *ReplicationError; the
// writes go on spreading. If a copy of this peer turns up meanwhile: ErrRotated.
func (a *Agent) WaitReplicated(ctx context.Context, n int) error {
	if a.mem.Closed() {
		return ErrClosed
	}
	if n < 0 {
		return fmt.Errorf("wait for %d peers: want 0 or more", n)
	}
	return waitReplicated(ctx, a.mem, n, a.mem.Closing())
}

// waitReplicated gives up when closing is.
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

// ForceSync returns when everything written before the call has been handed to
// the transport of every peer that is up. That is not yet an acknowledgement: see
// WaitReplicated.
func (a *Agent) ForceSync(ctx context.Context) error {
	err := a.mem.Flush(ctx)
	if err == nil {
		a.bus.emit(LifecycleEvent{Type: ForcedSync})
	}
	return err
}
