package agent

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

func TestWorkOfAWorkerThatIsGoneIsUnfinished(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		ctx, a := t.Context(), list[0]
		has := func(what string, want fleet.Unfinished) {
			t.Helper()
			time.Sleep(time.Second)
			if got, err := a.Unfinished(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
			}
		}
		must := func(errs ...error) {
			t.Helper()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		has("nothing yet", fleet.Unfinished{})
		tasks := list[2].Tasks()
		must(tasks.SetState(ctx, "t1", fleet.TaskState{Status: "running", Worker: "n2"}), tasks.SetState(ctx, "t2", fleet.TaskState{Status: "completed", Worker: "n2"}),
			tasks.SetState(ctx, "t3", fleet.TaskState{Status: "running", Worker: "of whom nobody heard"}), tasks.SetState(ctx, "t4", fleet.TaskState{Status: "failed"}),
			tasks.SetState(ctx, "t0", fleet.TaskState{Status: "failed"}), list[2].Workers().SetStatus(ctx, "n2", fleet.WorkerStatus{Status: "busy", Task: "t9", Running: 1}))
		has("all at work", fleet.Unfinished{Failed: []string{"t0", "t4"}})
		must(a.Tasks().SetState(ctx, "t4", fleet.TaskState{Status: "completed"}), a.Tasks().Delete(ctx, "t0"))
		has("mended", fleet.Unfinished{})
		crash(list[2])
		time.Sleep(time.Minute)
		has("out of sight", fleet.Unfinished{Abandoned: []fleet.Abandoned{{Worker: "n2", State: fleet.Unreachable, Tasks: []string{"t1", "t9"}}}})
		must(a.Forget("n2"))
		time.Sleep(2 * time.Hour) // the worker's status has expired
		has("gone", fleet.Unfinished{Abandoned: []fleet.Abandoned{{Worker: "n2", State: fleet.Gone, Tasks: []string{"t1"}}}})
		must(a.Tasks().SetState(ctx, "t1", fleet.TaskState{Worker: "n1"}))
		has("another has it", fleet.Unfinished{})
	})
}

// When more keys change between two calls of Unfinished than are noted, the second call still finds them.
func TestUnfinishedWorkIsKnownAfterAFloodOfChanges(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := several(t, n, 1, nil)[0]
		if _, err := a.Unfinished(); err != nil {
			t.Fatal(err)
		}
		for i := range 1<<14 + 100 {
			if err := a.Tasks().SetState(t.Context(), fmt.Sprintf("%05d", i), fleet.TaskState{Status: map[bool]string{true: "failed", false: "pending"}[i%8000 == 0]}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		got, err := a.Unfinished()
		if want := []string{"00000", "08000", "16000"}; err != nil || !reflect.DeepEqual(got.Failed, want) {
			t.Errorf("%v, %v; want %v", got.Failed, err, want)
		}
	})
}
