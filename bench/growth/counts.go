package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/sim"
)

// count is a rate that is counted in virtual time: it is the same in every run, on every machine.
type count struct {
	what  string
	of    string // what the size counts
	unit  string
	sizes []int
	limit float64 // the greatest exponent that passes
	rate  func(ctx context.Context, size int) (float64, error)
}

var fleets = []int{2, 5, 10, 20, 50, 100, 200, 500}

var counts = []count{
	{"traffic of one peer without writes", "peers", "B/s", fleets, 0.2, func(ctx context.Context, n int) (float64, error) {
		return traffic(ctx, n, 0, 0)
	}},
	{"traffic of one peer, 20 writes/s in all", "peers", "B/s", fleets[:7], 0.5, func(ctx context.Context, n int) (float64, error) {
		return traffic(ctx, n, 0, 20)
	}},
	{"traffic of one of three peers, 20 writes/s in all", "restarts of a peer", "B/s", steps(1, 10_000), 0.1, func(ctx context.Context, n int) (float64, error) {
		return traffic(ctx, 3, n, 20)
	}},
}

// traffic returns the bytes of frames that a simulated peer sends in a second, on average. Before
// that, the first peer writes and is killed as often as restarts says, 0.4 s apart.
func traffic(ctx context.Context, peers, restarts, writes int) (float64, error) {
	const settle, span = 10, 20 // seconds
	c, err := sim.New(sim.Config{Seed: 1, Peers: peers, Batch: 20 * time.Millisecond})
	if err != nil {
		return 0, err
	}
	var before uint64
	for s := range settle + span {
		if s == settle {
			before = c.Bytes()
		}
		if s == 5 { // by then the peers know each other
			if err := restart(ctx, c, restarts); err != nil {
				return 0, err
			}
		}
		if err := second(ctx, c, s, writes); err != nil {
			return 0, err
		}
	}
	return float64(c.Bytes()-before) / span / float64(peers), nil
}

// second lets one second pass, in which the peers write in turns. It is the s-th.
func second(ctx context.Context, c *sim.Cluster, s, writes int) error {
	for i := range writes {
		n := s*writes + i
		if err := c.Do(fmt.Sprintf("%d put key/%d %q", 1+n%c.Peers(), n%100, value)); err != nil {
			return err
		}
		c.Run(time.Second / time.Duration(writes))
	}
	if writes == 0 {
		c.Run(time.Second)
	}
	return ctx.Err()
}

// restart has the first peer write and start anew so often.
func restart(ctx context.Context, c *sim.Cluster, times int) error {
	for i := range times {
		for _, step := range []string{fmt.Sprintf("1 put life %d", i), "run 200ms", "kill 1", "start 1", "run 200ms"} {
			if err := c.Do(step); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c count) measure(ctx context.Context, most int) (rates []string, growth float64, err error) {
	var sizes []int
	var costs []float64
	for _, n := range c.sizes {
		if n > most {
			break
		}
		rate, err := c.rate(ctx, n)
		if err != nil {
			return nil, 0, fmt.Errorf("at %d: %w", n, err)
		}
		sizes, costs = append(sizes, n), append(costs, rate)
		rates = append(rates, fmt.Sprintf("%s: %.0f %s", short(n), rate, c.unit))
	}
	if last := len(sizes) - 1; last > 0 {
		growth = exponent(sizes[last-1], sizes[last], costs[last-1], costs[last])
	}
	return rates, growth, nil
}
