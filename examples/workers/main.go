// Workers shows basic coordination: workers publish their capacity, a scheduler finds the one with
// the most room, and all notice at once when one leaves.
//
//	go run ./examples/workers
//	go run ./examples/workers -join 127.0.0.1:7946 -cluster farm
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
	cluster = flag.String("cluster", "example-workers", "its name")
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
	members := []struct {
		name     string
		capacity int
		labels   []string
	}{{"ann", 2, []string{"cpu"}}, {"bob", 4, []string{"cpu", "gpu"}}, {"eve", 8, []string{"cpu", "gpu"}}}
	var peers []*agent.Agent
	for _, w := range members {
		var seeds []string
		if *join != "" {
			seeds = append(seeds, *join)
		}
		if len(peers) > 0 {
			seeds = append(seeds, peers[0].Addr())
		}
		a, err := agent.Open(ctx, agent.Config{Name: w.name, Cluster: *cluster, Seeds: seeds, BatchInterval: agent.AtOnce})
		if err != nil {
			return err
		}
		defer a.Close(context.Background())
		peers = append(peers, a)
		if err := a.Workers().SetCapacity(ctx, w.name, w.capacity); err != nil {
			return err
		}
		if err := a.Workers().SetStatus(ctx, w.name, fleet.WorkerStatus{Status: "idle", Labels: w.labels}); err != nil {
			return err
		}
	}

	// Ann is the scheduler. She waits until she sees the offers of both others.
	scheduler := peers[0]
	var found []fleet.Worker
	err := until(ctx, func() (done bool, err error) {
		found, err = scheduler.Workers().Find(1, "gpu")
		return len(found) == 2, err
	})
	if err != nil {
		return err
	}
	for _, w := range found {
		fmt.Printf("%s has a GPU and takes %d more\n", w.ID, w.Free())
	}
	best := found[0].ID
	if err := scheduler.Tasks().SetState(ctx, "render-1", fleet.TaskState{Status: "assigned", Worker: best}); err != nil {
		return err
	}
	if err := work(ctx, peers[2]); err != nil {
		return err
	}
	err = until(ctx, func() (bool, error) {
		t, err := scheduler.Tasks().State("render-1")
		return t.Status == "completed", err
	})
	if err != nil {
		return err
	}
	fmt.Println("ann sees render-1 completed by", best)

	if err := peers[2].Close(ctx); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		found, err := scheduler.Workers().Find(1, "gpu")
		if len(found) == 1 {
			fmt.Println("eve left; next is", found[0].ID)
		}
		return len(found) == 1, err
	})
}

// work does the first task that is assigned to the worker of this peer.
func work(ctx context.Context, a *agent.Agent) error {
	sub, err := a.Watch(ctx, fleet.TaskStateKey("*"), agent.WithSnapshot())
	if err != nil {
		return err
	}
	defer sub.Close()
	for range sub.C() {
		t, err := a.Tasks().State("render-1")
		if err != nil || t.Worker != a.Name() {
			continue // the assignment has not arrived, or is for another worker
		}
		fmt.Println(a.Name(), "works on render-1")
		if err := a.Tasks().SetProgress(ctx, "render-1", 1, "rendered"); err != nil {
			return err
		}
		return a.Tasks().SetState(ctx, "render-1", fleet.TaskState{Status: "completed"})
	}
	return ctx.Err()
}

// until calls f until it reports that it is done.
func until(ctx context.Context, f func() (bool, error)) error {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
