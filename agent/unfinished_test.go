package agent

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

func TestWorkOfAWorkerThatIsGoneIsUnfinished(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := fleet(t, n, 3, nil)
		ctx, a := t.Context(), list[0]
		has := func(what string, want Unfinished) {
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
		has("nothing yet", Unfinished{})
		tasks := list[2].Tasks()
		must(tasks.SetState(ctx, "t1", TaskState{Status: "running", Worker: "n2"}), tasks.SetState(ctx, "t2", TaskState{Status: "completed", Worker: "n2"}),
			tasks.SetState(ctx, "t3", TaskState{Status: "running", Worker: "of whom nobody heard"}), tasks.SetState(ctx, "t4", TaskState{Status: "failed"}),
			tasks.SetState(ctx, "t0", TaskState{Status: "failed"}), list[2].Workers().SetStatus(ctx, "n2", WorkerStatus{Status: "busy", Task: "t9", Running: 1}))
		has("all at work", Unfinished{Failed: []string{"t0", "t4"}})
		must(a.Tasks().SetState(ctx, "t4", TaskState{Status: "completed"}), a.Tasks().Delete(ctx, "t0"))
		has("mended", Unfinished{})
		crash(list[2])
		time.Sleep(time.Minute)
		has("out of sight", Unfinished{Abandoned: []Abandoned{{"n2", WorkerUnreachable, []string{"t1", "t9"}}}})
		must(a.Forget("n2"))
		time.Sleep(2 * time.Hour) // what it said has expired
		has("gone", Unfinished{Abandoned: []Abandoned{{"n2", WorkerGone, []string{"t1"}}}})
		must(a.Tasks().SetState(ctx, "t1", TaskState{Worker: "n1"}))
		has("another has it", Unfinished{})
	})
}

// What changed while nobody looked is not kept for ever, and is known all the same.
func TestUnfinishedWorkIsKnownAfterAFloodOfChanges(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := fleet(t, n, 1, nil)[0]
		if _, err := a.Unfinished(); err != nil {
			t.Fatal(err)
		}
		for i := range maxNoted + 100 {
			if err := a.Tasks().SetState(t.Context(), fmt.Sprintf("%05d", i), TaskState{Status: map[bool]string{true: "failed", false: "pending"}[i%8000 == 0]}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		a.unfinished.mu.Lock()
		noted, missed := len(a.unfinished.changed), a.unfinished.missed
		a.unfinished.mu.Unlock()
		if noted > maxNoted || !missed {
			t.Errorf("%d keys are noted: the test is too tame, or there is no bound", noted)
		}
		got, err := a.Unfinished()
		if want := []string{"00000", "08000", "16000"}; err != nil || !reflect.DeepEqual(got.Failed, want) {
			t.Errorf("%v, %v; want %v", got.Failed, err, want)
		}
	})
}

func TestWorkIsNotedWhileUnfinishedWorkIsRead(t *testing.T) {
	var u unfinished
	u.reading.Lock() // as a look that walks a large store
	defer u.reading.Unlock()
	noted := make(chan struct{})
	go func() {
		u.note(taskState.key("t"))
		close(noted)
	}()
	select {
	case <-noted:
	case <-time.After(10 * time.Second):
		t.Fatal("the loop waits for a reader of unfinished work")
	}
	if changed, missed := u.take(); len(changed) != 1 || missed {
		t.Errorf("noted %v, missed %v; want the one task", changed, missed)
	}
}
