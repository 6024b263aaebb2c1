package subject

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	contenders    = 64
	contendedSpan = time.Second
	contendedRuns = 3
)

// turn has the times when a client asked for the lock, got it, and began to release it.
type turn struct {
	client               int
	asked, got, gaveBack time.Duration
}

// queue is the statistics of a contended lock.
type queue struct {
	handOver measure.Latency
	least    float64 // turns of the client with the fewest, by its fair share
	longest  float64 // the longest wait, by the fair one
	passed   int     // the most turns of others while one waited
	rate     float64 // turns a second
}

// typical returns the median of each statistic over some runs, and the hand-overs of all
// runs together. A median is used because one pause of the machine of 50 ms decides the
// longest wait of a run.
func typical(runs []queue) queue {
	by := func(f func(queue) float64) float64 {
		var x []float64
		for _, q := range runs {
			x = append(x, f(q))
		}
		return median(x)
	}
	all := queue{handOver: measure.NewLatency()}
	for _, q := range runs {
		all.handOver.Merge(q.handOver)
		all.passed = max(all.passed, q.passed)
	}
	all.least = by(func(q queue) float64 { return q.least })
	all.longest = by(func(q queue) float64 { return q.longest })
	all.rate = by(func(q queue) float64 { return q.rate })
	return all
}

// lockContended measures 64 clients of one lock, spread over the four peers. Each asks
// again as soon as it has released the lock.
func lockContended(ctx context.Context, peers []*agent.Agent, rivals lockRivals) ([]measure.Row, error) {
	us, err := contend(ctx, takerOf(peers...))
	if err != nil {
		return nil, err
	}
	rows := []measure.Row{
		{What: "64 clients on one lock: hand-over, p50", Unit: "µs", Measured: us.handOver.Micros(50), Goal: 200,
			Note: fmt.Sprintf("%.0f turns/s", us.rate)},
		{What: "64 clients on one lock: the fewest turns", Unit: "of the fair share", Measured: us.least, Goal: 0.5, AtLeast: true},
		{What: "64 clients on one lock: the longest wait", Unit: "× the fair one", Measured: us.longest, Goal: 3,
			Note: fmt.Sprintf("at most %d turns of others while one waited; the longest hand-over took %.1f ms; %d runs of %v", us.passed, us.handOver.Micros(100)/1e3, contendedRuns, contendedSpan)},
	}
	for _, r := range []lockRival{rivals.etcd, rivals.redlock} {
		if r.take == nil {
			rows[0].Note += "; " + r.note()
			continue
		}
		them, err := contend(ctx, r.take)
		if err != nil {
			return nil, err
		}
		rows[0].Note += fmt.Sprintf("; %s: %.0f turns/s, hand-over %.0f µs, fewest turns %.2g of the fair share, longest wait %.3g fair ones",
			r.name, them.rate, them.handOver.Micros(50), them.least, them.longest)
		if r.name == rivals.etcd.name { // it has a queue, too
			for i, x := range []float64{them.handOver.Micros(50), them.least, them.longest} {
				rows[i].Reference, rows[i].Against = x, r.name
			}
		}
	}
	return rows, nil
}

func contend(ctx context.Context, take taker) (queue, error) {
	var runs []queue
	for range contendedRuns {
		turns, err := takeTurns(ctx, take)
		if err != nil {
			return queue{}, err
		}
		q, err := judge(turns)
		if err != nil {
			return queue{}, err
		}
		runs = append(runs, q)
	}
	return typical(runs), nil
}

func takeTurns(ctx context.Context, take taker) ([]turn, error) {
	start := time.Now()
	turns := make([][]turn, contenders)
	g, ctx := errgroup.WithContext(ctx)
	for i := range contenders {
		g.Go(func() error {
			for time.Since(start) < contendedSpan {
				t := turn{client: i, asked: time.Since(start)}
				unlock, err := take(ctx, i, "contended")
				if err != nil {
					return err
				}
				t.got = time.Since(start)
				t.gaveBack = time.Since(start)
				if err := unlock(ctx); err != nil {
					return err
				}
				turns[i] = append(turns[i], t)
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(turns...), err
}

// judge returns how fair the turns were. Turns after the end, when fewer and fewer clients
// ask, do not count.
func judge(turns []turn) (queue, error) {
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.got, b.got) })
	q := queue{handOver: measure.NewLatency()}
	counts, waited := make([]float64, contenders), time.Duration(0)
	n := 0.0
	for i, t := range turns {
		if i > 0 {
			free := turns[i-1].gaveBack
			if t.got < free {
				return queue{}, fmt.Errorf("clients %d and %d held one lock at a time", turns[i-1].client, t.client)
			}
			if t.asked < free {
				q.handOver.Add(t.got - free)
			}
		}
		before, _ := slices.BinarySearchFunc(turns, t.asked, func(x turn, at time.Duration) int { return cmp.Compare(x.got, at) })
		q.passed = max(q.passed, i-before)
		waited = max(waited, min(t.got, contendedSpan)-t.asked)
		if t.got <= contendedSpan {
			counts[t.client]++
			n++
		}
	}
	if n == 0 {
		return queue{}, fmt.Errorf("nobody got the lock within %v", contendedSpan)
	}
	fair := contendedSpan.Seconds() * contenders / n
	q.least, q.longest, q.rate = slices.Min(counts)*contenders/n, waited.Seconds()/fair, n/contendedSpan.Seconds()
	return q, nil
}
