package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
)

// workers starts three voters on loopback.
func workers(b *testing.B) []*Agent {
	b.Helper()
	var list []*Agent
	for i := range 3 {
		cfg := Config{Name: fmt.Sprintf("n%d", i), Locks: LockConfig{Voters: []string{"n0", "n1", "n2"}, FirstBoot: true}}
		if i > 0 {
			cfg.Seeds = []string{list[0].Addr()}
		}
		list = append(list, open(b, cfg))
	}
	for i, a := range list { // wait until a majority certifies claims
		mustEnqueue(b, a.WorkQueue(fmt.Sprint("warm", i)), i)
		if err := mustClaim(b, a.WorkQueue(fmt.Sprint("warm", i))).Complete(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	return list
}

func BenchmarkEnqueue(b *testing.B) {
	q := workers(b)[0].WorkQueue("q")
	items := make([]workqueue.NewItem, 100)
	for i := range items {
		items[i].Value = "a payload of the usual sort, about sixty bytes of text or so"
	}
	for b.Loop() {
		if _, err := q.EnqueueAll(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "items/s")
}

func BenchmarkEnqueueOne(b *testing.B) {
	q := workers(b)[0].WorkQueue("q")
	for b.Loop() {
		if _, err := q.Enqueue(b.Context(), "a payload of the usual sort, about sixty bytes of text or so"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

// In this benchmark 64 workers at three peers claim and complete items in batches of 16.
func BenchmarkClaimComplete(b *testing.B) {
	list := workers(b)
	const perRound = 1 << 13
	items := make([]workqueue.NewItem, perRound)
	for i := range items {
		items[i].Value = "a payload of the usual sort, about sixty bytes of text or so"
	}
	for b.Loop() {
		b.StopTimer()
		if _, err := list[0].WorkQueue("q").EnqueueAll(b.Context(), items); err != nil {
			b.Fatal(err)
		}
		if err := list[0].WaitReplicated(b.Context(), 2); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		var wg sync.WaitGroup
		var mu sync.Mutex
		left := perRound
		ctx, stop := context.WithCancel(b.Context())
		for i := range 64 {
			q := list[i%3].WorkQueue("q")
			wg.Go(func() {
				for {
					claims, err := q.ClaimBatch(ctx, 16)
					if errors.Is(err, context.Canceled) {
						return
					}
					if err != nil {
						b.Error(err)
						stop()
						return
					}
					var each sync.WaitGroup
					for _, c := range claims {
						each.Go(func() {
							if err := c.Complete(b.Context(), nil); err != nil {
								b.Error(err)
							}
						})
					}
					each.Wait()
					mu.Lock()
					if left -= len(claims); left == 0 {
						stop()
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		stop()
	}
	b.ReportMetric(float64(b.N)*perRound/b.Elapsed().Seconds(), "items/s")
	contended := uint64(0)
	for _, a := range list {
		contended += a.Stats().Queues["q"].Contended
	}
	b.ReportMetric(float64(contended)/float64(b.N)/perRound, "contended/item")
}

// This benchmark measures the time from Enqueue until an idle worker, which waits, has the item.
func BenchmarkClaimLatency(b *testing.B) {
	list := workers(b)
	q, at := list[0].WorkQueue("q"), list[1].WorkQueue("q")
	got := make(chan time.Time)
	go func() {
		for {
			c, err := at.Claim(b.Context())
			if err != nil {
				return
			}
			got <- time.Now()
			if err := c.Complete(context.Background(), nil); err != nil {
				b.Error(err)
			}
		}
	}()
	var took []time.Duration
	for b.Loop() {
		time.Sleep(2 * time.Millisecond) // until the worker waits
		began := time.Now()
		if _, err := q.Enqueue(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-got).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
