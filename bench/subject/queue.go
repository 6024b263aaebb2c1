package subject

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/rival"
)

const (
	queueItems   = 1 << 13 // a round
	queueRounds  = 3
	queueWorkers = 64
	queueBatch   = 16
	idleClaims   = 300 // a round
)

// payload is the value of every item.
var payload = []byte("a payload of the usual sort, about sixty bytes of text or so")

// workQueue is one measured work queue.
type workQueue struct {
	name string

	enqueue func(ctx context.Context, n int) error
	settle  func(context.Context) error // returns when as many have the items as the service promises; nil: enqueue does

	// work has workers claim items in batches and complete them, until the context ends. It
	// calls completed for each item.
	work func(ctx context.Context, workers, batch int, completed func()) error

	// idle has one worker send the time at which it gets each item, until the context ends.
	idle func(ctx context.Context, got chan<- time.Time) error

	empty func(context.Context) error // fails unless every item was completed

	enqueued, settled, completed, cost []float64 // items/s, and µs of this process an item, of each round
	latency                            measure.Latency
}

// Queue measures work queues. What each promises when it says that an item is there, or
// done:
//
//   - Ours: a completion is known to two of three peers, and no other one is valid. An
//     item enqueued is on one peer; settled, on two. Sealed on the wire.
//   - JetStream R3: two of three servers have the item, and the acknowledgement of a
//     worker that waits for its answer (DoubleAck). R1: one server.
//   - asynq: one Redis has it, which may lose the last second when it dies (here: all).
//
// All in memory: none waits for a disk.
func Queue(ctx context.Context) (rows []measure.Row, err error) {
	peers, err := fleet.Open(ctx, 3, voting)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	n, err := rival.OpenNATS(ctx)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	us := ourQueue(peers)
	r3, err := natsQueue(ctx, n, "r3", 3)
	if err != nil {
		return nil, err
	}
	r1, err := natsQueue(ctx, n, "r1", 1)
	if err != nil {
		return nil, err
	}
	all := []*workQueue{us, r3, r1}
	var redis *workQueue
	a, redisErr := rival.OpenAsynq(ctx)
	if redisErr == nil {
		defer a.Close()
		redis = asynqQueue(a)
		all = append(all, redis)
	}
	for round := range queueRounds + 1 {
		for _, q := range all {
			if round <= 1 { // the first warms up, and is not counted
				*q = workQueue{name: q.name, enqueue: q.enqueue, settle: q.settle, work: q.work, idle: q.idle, empty: q.empty, latency: measure.NewLatency()}
			}
			if err := q.round(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
		}
	}
	rows = queueRows(us, r3, r1, redis)
	if redisErr != nil {
		rows[0].Note += fmt.Sprintf("; asynq was not measured: %v", redisErr)
	}
	return rows, nil
}

// round measures one round of everything.
func (q *workQueue) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cpu, err := measure.CPU()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := q.enqueue(ctx, queueItems); err != nil {
		return err
	}
	q.enqueued = append(q.enqueued, rate(start))
	if q.settle != nil {
		if err := q.settle(ctx); err != nil {
			return err
		}
	}
	q.settled = append(q.settled, rate(start))
	start = time.Now()
	if err := q.drain(ctx); err != nil {
		return err
	}
	q.completed = append(q.completed, rate(start))
	after, err := measure.CPU()
	if err != nil {
		return err
	}
	q.cost = append(q.cost, float64((after-cpu).Microseconds())/queueItems)
	if err := q.empty(ctx); err != nil {
		return err
	}
	return q.wait(ctx)
}

func rate(start time.Time) float64 { return queueItems / time.Since(start).Seconds() }

// drain waits until the workers have completed all items.
func (q *workQueue) drain(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var completed atomic.Int64
	err := q.work(ctx, queueWorkers, queueBatch, func() {
		if completed.Add(1) == queueItems {
			stop()
		}
	})
	if n := completed.Load(); n == queueItems {
		return nil
	} else if err == nil {
		err = fmt.Errorf("%d of %d items were completed", n, queueItems)
	}
	return err
}

// wait measures the time until an idle worker has an item.
func (q *workQueue) wait(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	got := make(chan time.Time)
	var g errgroup.Group
	g.Go(func() error { return q.idle(ctx, got) })
	err := func() error {
		for range idleClaims {
			time.Sleep(3 * time.Millisecond) // the worker is idle
			start := time.Now()
			if err := q.enqueue(ctx, 1); err != nil {
				return err
			}
			select {
			case at := <-got:
				q.latency.Add(max(at.Sub(start), 0))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}()
	stop()
	return errors.Join(err, g.Wait())
}

func queueRows(us, r3, r1, redis *workQueue) []measure.Row {
	var rows []measure.Row
	add := func(what, unit string, goal float64, atLeast bool, value func(*workQueue) float64, rivals ...*workQueue) {
		for i, r := range rivals {
			if r == nil {
				continue
			}
			row := measure.Row{What: what, Unit: unit, Measured: value(us), Reference: value(r), Against: r.name}
			if i == 0 {
				row.Goal, row.AtLeast = goal, atLeast
			}
			rows = append(rows, row)
		}
	}
	add("enqueue, returned", "items/s", 50_000, true, func(q *workQueue) float64 { return median(q.enqueued) }, r1, redis)
	rows[0].Note = fmt.Sprintf("%d items of %d B, %d rounds; ours 100 a call, NATS asynchronous, asynq 64 callers", queueItems, len(payload), queueRounds)
	add("enqueue, on two of three peers", "items/s", 0, true, func(q *workQueue) float64 { return median(q.settled) }, r3)
	add("claim + complete, 64 workers at three peers", "items/s", 10_000, true, func(q *workQueue) float64 { return median(q.completed) }, r3, r1, redis)
	add("an item enqueued, claimed and completed", "µs of processor", 0, false, func(q *workQueue) float64 { return median(q.cost) }, r3, r1)
	rows[len(rows)-1].Note = "clients and servers of all three peers together"
	add("claim by an idle worker, p50", "µs", 1000, false, func(q *workQueue) float64 { return q.latency.Micros(50) }, r3, r1, redis)
	add("claim by an idle worker, p99", "µs", 0, false, func(q *workQueue) float64 { return q.latency.Micros(99) }, r3, r1, redis)
	if redis != nil {
		rows[len(rows)-1].Note = "an idle worker of asynq looks every 10 ms here, every second by default"
	}
	return rows
}

const queueName = "bench"

func ourQueue(peers []*agent.Agent) *workQueue {
	return &workQueue{
		name: "sentinel-peer",
		enqueue: func(ctx context.Context, n int) error {
			items := make([]workqueue.NewItem, min(n, 100))
			for i := range items {
				items[i].Value = payload
			}
			for ; n > 0; n -= len(items) {
				items = items[:min(n, len(items))]
				if _, err := peers[0].WorkQueue(queueName).EnqueueAll(ctx, items); err != nil {
					return err
				}
			}
			return nil
		},
		settle: func(ctx context.Context) error { return peers[0].WaitReplicated(ctx, 1) },
		work: func(ctx context.Context, workers, batch int, completed func()) error {
			g, ctx := errgroup.WithContext(ctx)
			for i := range workers {
				q := peers[i%len(peers)].WorkQueue(queueName)
				g.Go(func() error {
					for {
						claims, err := q.ClaimBatch(ctx, batch)
						if err != nil {
							return err
						}
						err = completeEach(claims, func(c *workqueue.Claim) error { return c.Complete(context.WithoutCancel(ctx), nil) }, completed)
						if err != nil {
							return err
						}
					}
				})
			}
			return ended(g.Wait())
		},
		idle: func(ctx context.Context, got chan<- time.Time) error {
			q := peers[1].WorkQueue(queueName)
			for {
				c, err := q.Claim(ctx)
				if err != nil {
					return ended(err)
				}
				got <- time.Now()
				if err := c.Complete(context.WithoutCancel(ctx), nil); err != nil {
					return err
				}
			}
		},
		empty: func(context.Context) error {
			d, err := peers[0].WorkQueue(queueName).Depth()
			if left := d.Pending + d.Delayed + d.Claimed + d.Dead; err == nil && left > 0 {
				err = fmt.Errorf("%d items are left", left)
			}
			return err
		},
	}
}

// completeEach completes the items of one claim concurrently.
func completeEach[T any](claims []T, complete func(T) error, completed func()) error {
	var g errgroup.Group
	for _, c := range claims {
		g.Go(func() error {
			err := complete(c)
			if err == nil {
				completed()
			}
			return err
		})
	}
	return g.Wait()
}

// ended returns nil for the end of the context, which is the normal end of the work.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func natsQueue(ctx context.Context, n *rival.NATS, name string, replicas int) (*workQueue, error) {
	q, err := n.WorkQueue(ctx, name, replicas)
	if err != nil {
		return nil, err
	}
	return &workQueue{
		name:    fmt.Sprintf("NATS JetStream R%d", replicas),
		enqueue: func(ctx context.Context, n int) error { return q.Enqueue(ctx, payload, n) },
		work: func(ctx context.Context, workers, batch int, completed func()) error {
			var g errgroup.Group
			for i := range workers {
				g.Go(func() error {
					for ctx.Err() == nil {
						claims, err := q.Claim(ctx, i, batch)
						if err != nil {
							return err
						}
						if err := completeEach(claims, func(m rival.Message) error { return m.DoubleAck(context.WithoutCancel(ctx)) }, completed); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return ended(g.Wait())
		},
		idle: func(ctx context.Context, got chan<- time.Time) error {
			for ctx.Err() == nil {
				claims, err := q.Claim(ctx, 1, 1)
				if err != nil {
					return err
				}
				for _, m := range claims {
					got <- time.Now()
					if err := m.DoubleAck(context.WithoutCancel(ctx)); err != nil {
						return err
					}
				}
			}
			return nil
		},
		empty: q.Empty,
	}, nil
}

func asynqQueue(a *rival.Asynq) *workQueue {
	return &workQueue{
		name:    "asynq",
		enqueue: func(ctx context.Context, n int) error { return a.Enqueue(ctx, payload, n) },
		work: func(ctx context.Context, workers, _ int, completed func()) error { // it has no batches
			stop, err := a.Work(workers, completed)
			if err != nil {
				return err
			}
			<-ctx.Done()
			stop()
			return nil
		},
		idle: func(ctx context.Context, got chan<- time.Time) error {
			stop, err := a.Work(1, func() { got <- time.Now() })
			if err != nil {
				return err
			}
			<-ctx.Done()
			stop()
			return nil
		},
		empty: a.Empty,
	}
}
