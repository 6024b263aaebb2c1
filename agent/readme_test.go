package agent_test

import (
	"context"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// Example is the example of the README, word for word: a test in package examples compares them. It is
// compiled but not run, since its peers are on other machines.
func Example() {
	_ = func(ctx context.Context, key []byte) error {
		a, err := agent.Open(ctx, agent.Config{
			Name:    "worker-1",
			Cluster: "render-farm",
			Bind:    "0.0.0.0:7946", // where the others reach it; loopback by default
			Keys:    [][]byte{key},  // 32 bytes that all share: without it a peer stays on loopback
			Seeds:   []string{"worker-0.local:7946"},
		})
		if err != nil {
			return err
		}
		defer a.Close(context.Background())

		sub, err := a.Watch(ctx, "tasks/*/state") // changes of every peer, this one included
		if err != nil {
			return err
		}
		if err := a.Put(ctx, "tasks/42/state", map[string]any{"status": "running", "by": a.Name()}); err != nil {
			return err
		}
		if err := a.Set("tasks/42/tags").Add(ctx, "urgent"); err != nil {
			return err
		}
		if state, ok := a.Get("tasks/42/state"); ok { // from this process's memory
			fmt.Println(state)
		}
		for e := range sub.C() {
			fmt.Println(e.Key, e.New, "by", e.Writer)
		}
		return nil
	}
}
