package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// When items fill the store, further ones are refused, and workers can still finish those in the queue.
func TestAFullStoreLetsWorkBeFinished(t *testing.T) {
	a := open(t, Config{Name: "n1", MaxBytes: 1 << 20})
	ctx := t.Context()
	q := a.WorkQueue("jobs")
	var full *crdt.FullError
	items := 0
	for {
		_, err := q.Enqueue(ctx, strings.Repeat("x", 1000))
		if errors.As(err, &full) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		items++
	}
	if _, err := q.EnqueueAll(ctx, []workqueue.NewItem{{Value: strings.Repeat("x", 1000)}, {Value: 2}}); !errors.As(err, &full) {
		t.Errorf("more items: %v", err)
	}
	err := a.Update(ctx, func(tx *Tx) error {
		tx.Put("a", 1)
		tx.Put("b", strings.Repeat("x", 1000))
		return nil
	})
	if !errors.As(err, &full) {
		t.Errorf("an update: %v", err)
	}
	if err := a.Workers().SetStatus(ctx, "w1", fleet.WorkerStatus{Task: strings.Repeat("x", 1000)}); !errors.As(err, &full) {
		t.Errorf("a record: %v", err)
	}
	st := a.Stats().Store
	if st.Memory > st.Limit || st.Limit != 1<<20 || st.Refused < 4 {
		t.Errorf("%+v", st)
	}
	l, err := a.Tasks().AcquireLock(ctx, "t1", 5*time.Second)
	if err != nil {
		t.Errorf("a lock: %v", err)
	} else {
		told, err := a.Watch(ctx, fleet.TaskLockKey("t1"), WithSnapshot())
		if err != nil {
			t.Fatal(err)
		}
		for e := range told.C() {
			if e.Key == fleet.TaskLockKey("t1") {
				break
			}
		}
		_ = l.Unlock(ctx)
	}
	for done := range items {
		c, err := q.Claim(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if done == 0 {
			if err := c.Complete(ctx, strings.Repeat("r", 900_000)); !errors.As(err, &full) {
				t.Fatalf("a result that there is no room for: %v", err)
			}
			if err := c.Context().Err(); err != nil {
				t.Fatalf("the claim after it: %v", err)
			}
		}
		if done%2 == 0 {
			err = c.Complete(ctx, fmt.Sprint("result ", done))
		} else {
			err = c.Fail(ctx, errors.New("why"), workqueue.WithoutRetry())
		}
		if err != nil {
			t.Fatalf("item %d of %d: %v", done, items, err)
		}
	}
	if err := a.Put(ctx, "k", 1); err != nil {
		t.Errorf("a small write after half of the items are gone: %v", err)
	}
}
