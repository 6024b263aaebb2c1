package fleet

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// TestItemsSurviveKills has three daemons hand items to workers in other processes, while
// one daemon is killed again and again. Every item is completed, and none validly twice.
// With SENTINEL_LONG=1 the test takes a minute and 10,000 items.
func TestItemsSurviveKills(t *testing.T) {
	t.Parallel()
	items, kills := 300, 3
	if os.Getenv("SENTINEL_LONG") != "" {
		items, kills = 10_000, 60
	} else if testing.Short() {
		t.Skip("starts daemons")
	}
	v := newVoting(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills)*4*time.Second+60*time.Second)
	defer cancel()
	v.Flags = v.Flags[:len(v.Flags)-1] // who starts again is not in its first life
	w := queueWorkers{valid: make(map[string]int)}
	working, stop := context.WithCancel(ctx)
	defer stop()
	for i := range 9 {
		w.Go(func() { w.work(working, v.Peers[i%3]) })
	}
	w.Go(func() {
		for i := 0; i < items && working.Err() == nil; {
			body := fmt.Appendf(nil, `{"value":%d,"id":"item-%d","max_attempts":1000}`, i, i)
			if v.Peers[i%2].Client.Do(working, "POST", client.QueuePath("q", "items"), map[string][]string{"replicas": {"1"}}, body, nil, nil) == nil {
				i++ // else again: its id is taken once
			}
		}
	})
	n3 := v.Peers[2]
	for range kills {
		v.ok(n3.Cmd.Process.Kill())
		_ = n3.Cmd.Wait()
		v.ok(v.Launch(n3))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	var d workqueue.Depth
	for look := time.NewTicker(100 * time.Millisecond); d.Done < items; {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("%+v of %d items: %v", d, items, ctx.Err())
		}
		v.ok(v.Peers[0].Client.Do(ctx, "GET", client.QueuePath("q"), nil, nil, nil, &d))
	}
	stop()
	w.Wait()
	if d.Done != items || d.Dead != 0 {
		t.Errorf("%+v of %d items", d, items)
	}
	for id, times := range w.valid {
		if times != 1 {
			t.Errorf("%s was completed %d times", id, times)
		}
	}
	t.Logf("%d of %d completions were answered, %d kills", len(w.valid), items, kills)
}

// queueWorkers claim and complete items through daemons, and note the valid completions.
type queueWorkers struct {
	sync.WaitGroup
	mu    sync.Mutex
	valid map[string]int
}

func (w *queueWorkers) work(ctx context.Context, p *local.Process) {
	for ctx.Err() == nil {
		var got api.List[api.Claimed]
		if err := p.Client.Do(ctx, "POST", client.QueuePath("q", "claim"), nil, []byte(`{"wait":"1s","ttl":"2s","max":4}`), nil, &got); err != nil {
			select {
			case <-time.After(50 * time.Millisecond): // its daemon is down
			case <-ctx.Done():
			}
			continue
		}
		for _, c := range got.Items {
			body := fmt.Appendf(nil, `{"lease":%q,"token":%d}`, c.Lease, c.Token)
			if p.Client.Do(ctx, "POST", client.QueuePath("q", "items", c.ID, "complete"), nil, body, nil, nil) == nil {
				w.mu.Lock()
				w.valid[c.ID]++
				w.mu.Unlock()
			}
		}
	}
}
