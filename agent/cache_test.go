package agent

import (
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

// Between a write and the loop's next turn nothing drops the old value from the cache;
// a reader must see that it is old.
func TestACachedValueIsNeverStale(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	set := func(status string) {
		t.Helper()
		if err := a.Tasks().SetState(t.Context(), "42", fleet.TaskState{Status: status}); err != nil {
			t.Fatal(err)
		}
	}
	set("running")
	if _, err := a.Tasks().State("42"); err != nil {
		t.Fatal(err)
	}
	a.stop() // no turn any more
	a.wg.Wait()
	if _, err := a.Tasks().State("42"); err != nil { // decoded after the last turn
		t.Fatal(err)
	}
	set("done")
	if got, err := a.Tasks().State("42"); err != nil || got.Status != "done" {
		t.Errorf("read %q after a write: %v", got.Status, err)
	}
}
