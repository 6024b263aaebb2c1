// Monitor shows what any peer can observe while others work: peers that come and go, writes,
// conflicts and counters.
//
//	go run ./examples/monitor
//	go run ./examples/monitor -join 127.0.0.1:7946 -cluster farm    (until ctrl-C)
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster, to watch that")
	cluster = flag.String("cluster", "example-monitor", "its name")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cfg := agent.Config{Name: "monitor", Cluster: *cluster, HeartbeatInterval: agent.Manual} // the monitor is no worker
	if *join != "" {
		cfg.Seeds = []string{*join}
	}
	monitor, err := agent.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer monitor.Close(context.Background())
	events := monitor.Events(ctx)
	if *join != "" {
		err := show(ctx, monitor, events, func() {})
		if ctx.Err() != nil {
			return nil // ctrl-C
		}
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	worker, err := agent.Open(ctx, agent.Config{Name: "worker", Cluster: *cluster, Seeds: []string{monitor.Addr()}, BatchInterval: agent.AtOnce})
	if err != nil {
		return err
	}
	defer worker.Close(context.Background())
	done := make(chan error, 1)
	if err := show(ctx, monitor, events, func() { go func() { done <- work(ctx, worker) }() }); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	s := monitor.Stats()
	fmt.Printf("%d keys, %d writes merged, %d conflicts\n", s.Store.Keys, s.Store.Merged, s.Conflicts)
	return nil
}

// show prints events until the task named last is done. It calls joined when another peer has
// joined.
func show(ctx context.Context, monitor *agent.Agent, events *agent.EventStream, joined func()) error {
	for {
		select {
		case e := <-events.C:
			switch e.Type {
			case agent.PeerJoined, agent.PeerLeft:
				fmt.Println(e.Type, e.Name)
				if e.Type == agent.PeerJoined {
					joined()
				}
			case agent.TaskStateSynced:
				status := e.Change.New.Field("status")
				fmt.Println(e.Type, e.Name, status, "by", e.Change.Writer)
				if e.Name == "last" && status.Any() == "completed" {
					return nil
				}
			case agent.Wrote:
				if p := e.Change.New.Field("progress"); !p.IsZero() {
					fmt.Println(e.Type, e.Name, p)
				}
			case agent.ConflictResolved:
				fmt.Println(e.Type, e.Name, "kept", e.Change.New)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work is the work that is observed: two tasks.
func work(ctx context.Context, worker *agent.Agent) error {
	for _, id := range []string{"first", "last"} {
		for _, step := range []func() error{
			func() error { return worker.Tasks().SetState(ctx, id, fleet.TaskState{Status: "running"}) },
			func() error { return worker.Tasks().SetProgress(ctx, id, 0.5, "half") },
			func() error { return worker.Tasks().SetState(ctx, id, fleet.TaskState{Status: "completed"}) },
		} {
			if err := step(); err != nil {
				return err
			}
			if err := worker.WaitReplicated(ctx, 1); err != nil { // so that each write is observed before the next
				return err
			}
		}
	}
	return nil
}
