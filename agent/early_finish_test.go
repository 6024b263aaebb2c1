package agent

import (
	"errors"
	"sync"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
)

// A claim that can be found can be finished: by another request of its worker, say,
// before the one that made it is answered.
func TestAClaimIsFinishedTheMomentItIsThere(t *testing.T) {
	a := open(t, Config{Name: "n1", BatchInterval: AtOnce})
	q := a.WorkQueue("q")
	const items = 200
	for i := range items {
		if _, err := q.Enqueue(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	x, err := q.open()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range items {
			if _, err := q.Claim(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for done := 0; done < items && !t.Failed(); {
		x.mu.Lock()
		found := make([]*workqueue.Claim, 0, len(x.claims))
		for _, c := range x.claims { // each for itself: no order
			if c.stop == nil { // or the race detector sees that it is set meanwhile
				t.Error("a claim is there that is not complete")
			}
			found = append(found, c)
		}
		x.mu.Unlock()
		for _, c := range found {
			switch err := c.Complete(t.Context(), nil); {
			case err == nil:
				done++
			case !errors.Is(err, workqueue.ErrClaimLost):
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
}
