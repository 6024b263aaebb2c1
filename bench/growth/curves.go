package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	bench "github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// repeats is how often an operation is made to measure it.
const repeats = 5000

var curves = []curve{
	{"put of a new key", "keys", steps(1000, 1_000_000), 0.5, alone(fill, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats, func(i int) error { return a.Put(ctx, key(n+i), value) })
	})},
	{"put of a key that exists", "keys", steps(1000, 1_000_000), 0.5, alone(fill, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats, func(i int) error { return a.Put(ctx, key(i%n), value) })
	})},
	{"get", "keys", steps(1000, 1_000_000), 0.4, alone(fill, func(_ context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(20*repeats, func(i int) error {
			if _, ok := a.Get(key(i % n)); !ok {
				return errors.New("a key is gone")
			}
			return nil
		})
	})},
	{"list of ten keys", "keys", steps(1000, 1_000_000), 0.5, alone(listed, func(_ context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats, func(i int) error {
			prefix := key(i % n)
			keys, err := a.Keys(prefix[:len(prefix)-1] + "*")
			if len(keys) != 10 {
				return fmt.Errorf("%d keys, %w", len(keys), err)
			}
			return nil
		})
	})},
	{"first list, of each key", "keys", steps(1000, 1_000_000), 0.4, alone(fill, func(_ context.Context, a *agent.Agent, n int) (time.Duration, error) {
		took, err := each(1, func(int) error { _, err := a.Keys("**"); return err })
		return took / time.Duration(n), err
	})},
	{"agents of a task", "keys", steps(1000, 1_000_000), 0.5, alone(listed, func(ctx context.Context, a *agent.Agent, _ int) (time.Duration, error) {
		if err := a.Agents().SetCoordination(ctx, "t", "a", fleet.AgentInfo{Status: "working"}); err != nil {
			return 0, err
		}
		return each(repeats, func(int) error {
			list, err := a.Agents().List("t")
			if len(list) != 1 {
				return fmt.Errorf("%d agents, %w", len(list), err)
			}
			return nil
		})
	})},
	{"watch with a snapshot of ten keys", "keys", steps(1000, 1_000_000), 0.5, alone(listed, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats/20, func(int) error {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			prefix := key(n / 2)
			sub, err := a.Watch(ctx, prefix[:len(prefix)-1]+"*", agent.WithSnapshot())
			if err != nil {
				return err
			}
			for e := range sub.C() {
				if e.Cause == agent.CauseSynced {
					break
				}
			}
			return nil
		})
	})},
	{"join of an empty peer, of each key, after every key was overwritten", "keys", steps(1000, 100_000), 0.5, join},
	{"write beside subscribers to other keys", "subscribers", steps(10, 10_000), 0.5, alone(subscribe, func(ctx context.Context, a *agent.Agent, _ int) (time.Duration, error) {
		return each(repeats, func(i int) error { return a.Put(ctx, key(i%100), value) })
	})},
	{"one element added to a set", "elements", steps(10, 100_000), 0.5, alone(elements, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats, func(i int) error { return a.Set("set").Add(ctx, element(n+i)) })
	})},
	{"one element added to a set, and its event", "elements", steps(10, 100_000), 0.5, alone(elements, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return watched(ctx, a, func(i int) error { return a.Set("set").Add(ctx, element(n+i)) })
	})},
	{"one field of an object patched, and its event", "fields", steps(10, 100_000), 0.5, alone(fields, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return watched(ctx, a, func(i int) error { return a.Object("object").Patch(ctx, map[string]any{element(i % n): i}) })
	})},
	{"page of ten elements of a set, beside a writer", "elements", steps(10, 100_000), 0.5, alone(elements, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		after, err := crdt.ValueOf(element(n / 4))
		if err == nil {
			_, err = a.Set("set").Page(after, 10)
		}
		if err != nil {
			return 0, err
		}
		return each(repeats, func(i int) error {
			if err := a.Set("set").Add(ctx, element(n+i)); err != nil {
				return err
			}
			_, err := a.Set("set").Page(after, 10)
			return err
		})
	})},
	{"one field of an object patched", "fields", steps(10, 100_000), 0.5, alone(fields, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
		return each(repeats, func(i int) error {
			return a.Object("object").Patch(ctx, map[string]any{element(i % n): i})
		})
	})},
	{"first ten items of a queue", "items", steps(100, 100_000), 0.5, alone(items, func(_ context.Context, a *agent.Agent, _ int) (time.Duration, error) {
		return each(repeats, func(int) error {
			list, err := a.WorkQueue("q").Peek(10)
			if len(list) != 10 {
				return fmt.Errorf("%d items, %w", len(list), err)
			}
			return nil
		})
	})},
	{"longest put while the store fills", "keys", steps(1000, 1_000_000), 1, func(ctx context.Context, n int) (time.Duration, error) {
		longest := time.Duration(0)
		_, err := alone(nothing, func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error) {
			for i := range n {
				took, err := each(1, func(int) error { return a.Put(ctx, key(i), value) })
				if err != nil {
					return 0, err
				}
				longest = max(longest, took)
			}
			return 0, nil
		})(ctx, n)
		return longest, err
	}},
}

// steps returns from, ten times as much, and so on, up to upTo.
func steps(from, upTo int) (sizes []int) {
	for n := from; n <= upTo; n *= 10 {
		sizes = append(sizes, n)
	}
	return sizes
}

// each returns how long one of n calls of f takes.
func each(n int, f func(i int) error) (time.Duration, error) {
	start := time.Now()
	for i := range n {
		if err := f(i); err != nil {
			return 0, err
		}
	}
	return max(time.Since(start)/time.Duration(n), 1), nil
}

// alone returns a cost that is measured at a peer without others, once fill has made its state.
func alone(fill func(ctx context.Context, a *agent.Agent, n int) error, cost func(ctx context.Context, a *agent.Agent, n int) (time.Duration, error)) func(context.Context, int) (time.Duration, error) {
	return func(ctx context.Context, n int) (took time.Duration, err error) {
		peers, err := bench.Open(ctx, 1, agent.Config{MaxBytes: 8 << 30})
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, bench.Close(peers)) }()
		if err := fill(ctx, peers[0], n); err != nil {
			return 0, err
		}
		return cost(ctx, peers[0], n)
	}
}

var value = strings.Repeat("v", 100)

func key(i int) string     { return fmt.Sprintf("growth/%012d", i) }
func element(i int) string { return fmt.Sprintf("element-%08d", i) }

func nothing(context.Context, *agent.Agent, int) error { return nil }

// fill writes n keys.
func fill(ctx context.Context, a *agent.Agent, n int) error {
	for from := 0; from < n; from += crdt.MaxOps {
		err := a.Update(ctx, func(tx *agent.Tx) error {
			for i := from; i < min(n, from+crdt.MaxOps); i++ {
				tx.Put(key(i), value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// listed writes n keys and lists them once: the first list sorts all keys.
func listed(ctx context.Context, a *agent.Agent, n int) error {
	if err := fill(ctx, a, n); err != nil {
		return err
	}
	_, err := a.Keys("none")
	return err
}

// join returns what a peer that joins takes for each of n keys that the other one has overwritten
// in random order.
func join(ctx context.Context, n int) (took time.Duration, err error) {
	peers, err := bench.Open(ctx, 1, agent.Config{MaxBytes: 8 << 30})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bench.Close(peers)) }()
	if err := fill(ctx, peers[0], n); err != nil {
		return 0, err
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, i := range order {
		if err := peers[0].Put(ctx, key(i), value); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	p, err := agent.Open(ctx, agent.Config{Name: "n2", Cluster: "bench", Keys: [][]byte{bench.Key}, Seeds: []string{peers[0].Addr()}, MaxBytes: 8 << 30})
	if err != nil {
		return 0, err
	}
	peers = append(peers, p)
	if err := p.WaitReady(ctx); err != nil {
		return 0, err
	}
	for {
		if _, keys := p.Digest(); keys == n {
			return time.Since(start) / time.Duration(n), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// subscribe watches n keys that nobody writes.
func subscribe(ctx context.Context, a *agent.Agent, n int) error {
	for i := range n {
		if _, err := a.Watch(ctx, fmt.Sprintf("watched/%d/**", i)); err != nil {
			return err
		}
	}
	return nil
}

func elements(ctx context.Context, a *agent.Agent, n int) error {
	for from := 0; from < n; from += 1000 {
		var some []any
		for i := from; i < min(n, from+1000); i++ {
			some = append(some, element(i))
		}
		if err := a.Set("set").Add(ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

func fields(ctx context.Context, a *agent.Agent, n int) error {
	for from := 0; from < n; from += 1000 {
		some := make(map[string]any)
		for i := from; i < min(n, from+1000); i++ {
			some[element(i)] = i
		}
		if err := a.Object("object").Patch(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// watched returns how long one write takes until its event is there. A write crosses the size from which
// events have parts at most once.
func watched(ctx context.Context, a *agent.Agent, write func(i int) error) (time.Duration, error) {
	if err := a.ForceSync(ctx); err != nil {
		return 0, err
	}
	sub, err := a.Watch(ctx, "**")
	if err != nil {
		return 0, err
	}
	defer sub.Close()
	return each(repeats/5, func(i int) error {
		if err := write(i); err != nil {
			return err
		}
		if e := <-sub.C(); e.Key == "" {
			return errors.New("the subscription lags")
		}
		return nil
	})
}

func items(ctx context.Context, a *agent.Agent, n int) error {
	for i := range n {
		if _, err := a.WorkQueue("q").Enqueue(ctx, i); err != nil {
			return err
		}
	}
	return nil
}
