package agent

import (
	"fmt"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Look-ups of this package for its own use do not count as reads. Since Get is sampled, a look-up that is
// counted by mistake shows only after many calls.
func TestLookUpsOfItsOwnAreNoReads(t *testing.T) {
	a := open(t, Config{Name: "a"})
	ctx, q := t.Context(), a.WorkQueue("mail")
	mustEnqueue(t, q, "work", workqueue.WithID("x"))
	for range 50 * memory.ReadSample {
		if _, err := q.Get("x"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 * memory.ReadSample {
		if err := a.Tasks().SetState(ctx, fmt.Sprint(i), fleet.TaskState{Status: "failed"}); err != nil {
			t.Fatal(err)
		}
		mustEnqueue(t, q, i)
	}
	if left, err := a.Unfinished(); err != nil || len(left.Failed) != 5*memory.ReadSample {
		t.Fatal(len(left.Failed), err)
	}
	for range 5 * memory.ReadSample {
		if err := mustClaim(t, q).Complete(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Stats().Reads; n > 0 {
		t.Errorf("%d reads", n)
	}
}
