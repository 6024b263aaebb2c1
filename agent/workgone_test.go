package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// A claim that is finished after its agent began to close, and before its lease has ended, is given back
// at once. The item is tried again.
func TestAClaimThatIsFinishedAsCloseBeginsIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4)
		mustEnqueue(t, list[3].WorkQueue("q"), 1)
		c := mustClaim(t, list[3].WorkQueue("q"))
		list[3].queues.Close() // the first step of Close
		if err := c.Complete(t.Context(), nil); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), c.ID) {
			t.Errorf("completed: %v", err)
		}
		began := time.Now()
		if err := list[3].Close(t.Context()); err != nil {
			t.Error(err)
		}
		if again := mustClaim(t, list[0].WorkQueue("q")); again.Attempt != 2 || time.Since(began) >= closeWait {
			t.Errorf("attempt %d after %v: Close waited for a worker that has stopped", again.Attempt, time.Since(began))
		}
	})
}

// When the store has no room for a result, the claim lasts on, so that its caller can finish it otherwise.
// If the caller has stopped waiting, the attempt fails; otherwise the claim would be renewed for ever.
func TestAClaimWhoseCallerHasGoneDoesNotGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, func(c *Config) { c.MaxBytes = 1 << 20 })
		q := a.WorkQueue("q")
		mustEnqueue(t, q, 1, workqueue.WithID("x"))
		if err := a.Put(t.Context(), "most", strings.Repeat("x", 900_000)); err != nil {
			t.Fatal(err)
		}
		c := mustClaim(t, q)
		held, release := make(chan struct{}), make(chan struct{})
		go a.mem.Do(func(*replica.Replica, time.Time) { // so that the ending is written later
			close(held)
			<-release
		})
		<-held
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := c.Complete(gone, strings.Repeat("r", 900_000)); !errors.Is(err, context.Canceled) {
			t.Fatalf("decided already: %v", err)
		}
		close(release)
		again := mustClaim(t, q)
		if again.Attempt != 2 || c.Context().Err() == nil {
			t.Errorf("attempt %d; the first: %v", again.Attempt, c.Context().Err())
		}
		if st := a.Stats().Queues["q"]; st.Failed != 1 || st.Lost != 0 {
			t.Errorf("%+v", st)
		}
	})
}
