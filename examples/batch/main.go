// Batch shows writes by the thousand: they are collected into batches that take effect whole or not
// at all, flushed at once, and acknowledged by another peer.
//
//	go run ./examples/batch
//	go run ./examples/batch -join 127.0.0.1:7946 -cluster farm
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster")
	cluster = flag.String("cluster", "example-batch", "its name")
)

func main() {
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	var seeds []string
	if *join != "" {
		seeds = append(seeds, *join)
	}
	// By default a write waits up to 100 ms, and is sent together with others.
	writer, err := agent.Open(ctx, agent.Config{Name: "writer", Cluster: *cluster, Seeds: seeds, BatchInterval: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	defer writer.Close(context.Background())
	reader, err := agent.Open(ctx, agent.Config{Name: "reader", Cluster: *cluster, Seeds: append(seeds, writer.Addr())})
	if err != nil {
		return err
	}
	defer reader.Close(context.Background())
	if err := reader.WaitReady(ctx); err != nil {
		return err
	}

	// An update is one batch: no reader of this peer sees a part of it.
	var created int64
	err = writer.Update(ctx, func(tx *agent.Tx) error {
		for i := range 500 {
			tx.Patch(fleet.TaskStateKey(fmt.Sprintf("batch-%03d", i)), fleet.TaskState{Status: "pending", Priority: i % 10})
		}
		created = tx.Increment("batch/created", 500)
		tx.Add("batch/owners", writer.Name())
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println("one batch:", created, "tasks, their number and their owner")

	// One invalid write prevents the whole unit.
	err = writer.Update(ctx, func(tx *agent.Tx) error {
		tx.Put("batch/good", 1)
		tx.Put("batch//bad", 1)
		return nil
	})
	_, made := writer.Get("batch/good")
	fmt.Printf("refused: %v, written: %t\n", err != nil, made)

	// Single writes share frames too. A task written ten times in a row is sent once.
	for i := range 10 {
		if err := writer.Tasks().SetProgress(ctx, "batch-007", float64(i+1)/10, "working"); err != nil {
			return err
		}
	}
	if err := writer.ForceSync(ctx); err != nil { // sends at once instead of after the interval
		return err
	}
	if err := writer.WaitReplicated(ctx, 1); err != nil { // then one other peer has everything
		return err
	}

	for tick := time.NewTicker(20 * time.Millisecond); ; {
		keys, err := reader.Keys(fleet.TaskStateKey("batch-*"))
		if err != nil {
			return err
		}
		created, err := reader.Counter("batch/created").Value()
		if err != nil {
			return err
		}
		p, err := reader.Tasks().Progress("batch-007")
		if err == nil && p.Progress == 1 && len(keys) == 500 { // a peer that has acknowledged may not be this reader
			fmt.Printf("reader has %d tasks, %d created, batch-007 at %.0f %%\n", len(keys), created, 100*p.Progress)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
