package subject

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	flight     = 64
	flightSpan = time.Second
	flightRuns = 3
)

// lockFlight measures how many pairs of lock and unlock one owner serves in a second. 64
// callers at a peer that does not vote work at a time, each with a lock of its own.
func lockFlight(ctx context.Context, peers []*agent.Agent, ref lockRival) (measure.Row, error) {
	client := peers[lockPeers-1]
	names, err := ownedNames(ctx, client, peers[0].Name(), flight)
	if err != nil {
		return measure.Row{}, err
	}
	row := measure.Row{What: "lock + unlock, 64 at a time at one owner", Unit: "pairs/s", Goal: 20_000, AtLeast: true}
	var cost float64
	if row.Measured, cost, err = pairRate(ctx, takerOf(client), names); err != nil {
		return row, err
	}
	row.Note = fmt.Sprintf("%.0f µs of processor a pair, all four peers together", cost)
	if ref.take == nil {
		row.Note += "; " + ref.note()
		return row, nil
	}
	row.Against = ref.name
	row.Reference, _, err = pairRate(ctx, ref.take, names)
	return row, err
}

// pairRate returns the medians of some runs, after one to warm up: pairs a second, and
// the processor time of this process a pair, in microseconds.
func pairRate(ctx context.Context, take taker, names []string) (rate, cost float64, err error) {
	var rates, costs []float64
	for range flightRuns + 1 {
		start := time.Now()
		cpu, err := measure.CPU()
		if err != nil {
			return 0, 0, err
		}
		counts := make([]int, len(names))
		g, ctx := errgroup.WithContext(ctx)
		for i, name := range names {
			g.Go(func() error {
				for ; time.Since(start) < flightSpan; counts[i]++ {
					unlock, err := take(ctx, i, name)
					if err != nil {
						return err
					}
					if err := unlock(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return 0, 0, err
		}
		after, err := measure.CPU()
		if err != nil {
			return 0, 0, err
		}
		sum := 0
		for _, n := range counts {
			sum += n
		}
		rates = append(rates, float64(sum)/time.Since(start).Seconds())
		costs = append(costs, float64((after-cpu).Microseconds())/float64(sum))
	}
	return median(rates[1:]), median(costs[1:]), nil
}
