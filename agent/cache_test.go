package agent

import (
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

// The old value stays in the cache until the loop's next turn after a write. A reader must notice that
// it is old.
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
	a.stop() // the loop takes no more turns
	a.wg.Wait()
	if _, err := a.Tasks().State("42"); err != nil { // the value is decoded after the last turn
		t.Fatal(err)
	}
	set("done")
	if got, err := a.Tasks().State("42"); err != nil || got.Status != "done" {
		t.Errorf("read %q after a write: %v", got.Status, err)
	}
}
