// Quickstart runs two workers in one process. One writes, the other watches.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	writer, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "render-farm", BatchInterval: agent.AtOnce})
	if err != nil {
		return err
	}
	defer writer.Close(context.Background())
	watcher, err := agent.Open(ctx, agent.Config{Name: "worker-2", Cluster: "render-farm", Seeds: []string{writer.Addr()}})
	if err != nil {
		return err
	}
	defer watcher.Close(context.Background())

	sub, err := watcher.Watch(ctx, "tasks/*/state")
	if err != nil {
		return err
	}
	if err := writer.Put(ctx, "tasks/42/state", map[string]any{"status": "running", "by": "worker-1"}); err != nil {
		return err
	}
	select {
	case e := <-sub.C():
		fmt.Println(watcher.Name(), "sees", e.Key, "=", e.New, "by", e.Writer)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
