// Resolver shows how concurrent writes are resolved. Two peers are cut off from each other, write
// the same keys, and agree once the cut heals, by the type of each key: the last write, a union, a
// merge of fields, or a function of yours.
//
//	go run ./examples/resolver
//	go run ./examples/resolver -join 127.0.0.1:7946 -cluster farm
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster; it should have the same rules")
	cluster = flag.String("cluster", "example-resolver", "its name")
)

var rules = []crdt.Rule{
	{Pattern: "demo/tags", Kind: crdt.Set},
	{Pattern: "demo/config", Kind: crdt.Object},
	{Pattern: "demo/budget", Kind: crdt.Custom, Resolver: "lowest"},
}

// lowest keeps the lowest of several budgets. It runs on every peer when the key is read, so its
// result must depend on its argument alone.
func lowest(siblings []crdt.Sibling) (crdt.Value, error) {
	best := siblings[0].Value
	for _, s := range siblings[1:] {
		if s.Value.Compare(best) < 0 {
			best = s.Value
		}
	}
	return best, nil
}

func main() {
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cfg := agent.Config{
		Name: "left", Cluster: *cluster, BatchInterval: agent.AtOnce, Faults: true,
		Rules: rules, Resolvers: map[string]crdt.Resolver{"lowest": lowest},
	}
	if *join != "" {
		cfg.Seeds = []string{*join}
	}
	left, err := agent.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer left.Close(context.Background())
	cfg.Name, cfg.Seeds = "right", append(cfg.Seeds, left.Addr())
	right, err := agent.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer right.Close(context.Background())
	if err := right.WaitReady(ctx); err != nil {
		return err
	}

	if err := errors.Join(left.Cut(append(cfg.Seeds, right.Addr())...), right.Cut(cfg.Seeds...)); err != nil {
		return err
	}
	for _, w := range []struct {
		by             *agent.Agent
		color          string
		tag            string
		field          string
		budget, amount int
	}{{left, "red", "urgent", "retries", 100, 3}, {right, "blue", "gpu", "timeout", 60, 30}} {
		err := errors.Join(
			w.by.Put(ctx, "demo/color", w.color),
			w.by.Set("demo/tags").Add(ctx, w.tag),
			w.by.Object("demo/config").Patch(ctx, map[string]any{"limits": map[string]any{w.field: w.amount}}),
			w.by.Put(ctx, "demo/budget", w.budget),
		)
		if err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // so that the write of right is the later one
	}
	if err := errors.Join(left.Heal(), right.Heal()); err != nil {
		return err
	}
	for _, key := range []string{"demo/color", "demo/tags", "demo/config", "demo/budget"} {
		l, r, err := agreed(ctx, left, right, key)
		if err != nil {
			return err
		}
		fmt.Printf("%-12s left %s, right %s\n", key, l, r)
	}
	lost, err := left.Conflicts("demo/*", 10)
	if err != nil {
		return err
	}
	for _, c := range lost {
		fmt.Printf("%s: %s by %s lost to %s, by the rule %s\n", c.Key, c.Loser.Value, left.WriterName(c.Loser.Dot.Actor), c.Winner.Value, c.Rule)
	}
	return nil
}

// agreed returns the value that both peers read at a key, once it is the same.
func agreed(ctx context.Context, left, right *agent.Agent, key string) (l, r crdt.Value, err error) {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		l, _ = left.Get(key)
		r, _ = right.Get(key)
		if l == r {
			return l, r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return l, r, ctx.Err()
		}
	}
}
