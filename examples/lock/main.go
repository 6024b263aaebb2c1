// Lock shows how a task is executed under a lock: by one worker at a time. The stale token of a
// worker that was paused for too long keeps it from writing.
//
//	go run ./examples/lock
//	go run ./examples/lock -join 127.0.0.1:7946 -cluster farm
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
	"github.com/sentinel-peer/sentinel-peer/lockservice/fence"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster")
	cluster = flag.String("cluster", "example-lock", "its name")
)

func main() {
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// storage is what the lock protects. Its guard refuses a token lower than one it has seen.
type storage struct {
	guard fence.Memory
	text  string
}

func (s *storage) write(ctx context.Context, token uint64, text string) error {
	return s.guard.Do(ctx, "render-1", token, func() error { s.text = text; return nil })
}

func run(ctx context.Context) error {
	names := []string{"ann", "bob", "eve"}
	var peers []*agent.Agent
	for _, name := range names {
		var seeds []string
		if *join != "" {
			seeds = append(seeds, *join)
		}
		if len(peers) > 0 {
			seeds = append(seeds, peers[0].Addr())
		}
		a, err := agent.Open(ctx, agent.Config{Name: name, Cluster: *cluster, Seeds: seeds, BatchInterval: agent.AtOnce,
			Locks: agent.LockConfig{Voters: names, FirstBoot: true}})
		if err != nil {
			return err
		}
		defer a.Close(context.Background())
		peers = append(peers, a)
	}
	ann, bob, eve := peers[0], peers[1], peers[2]
	var disk storage

	// Ann executes the task, and Eve sees that Ann holds the lock.
	lease, err := ann.Tasks().AcquireLock(ctx, "render-1", time.Second)
	if err != nil {
		return err
	}
	if err := disk.write(lease.Context(), lease.Token(), "by ann"); err != nil {
		return err
	}
	if err := holder(ctx, eve, "ann"); err != nil {
		return err
	}
	_, err = bob.Locks().TryLock(ctx, "tasks/render-1")
	fmt.Println("bob may not:", errors.Is(err, lockservice.ErrHeld))
	if err := ann.Tasks().ReleaseLock(ctx, "render-1"); err != nil {
		return err
	}

	// Bob is next, and is paused: his lease is not renewed, and so it expires.
	paused, err := bob.Locks().Lock(ctx, "tasks/render-1", lockservice.WithTTL(lockservice.LeastTTL), lockservice.WithBearer())
	if err != nil {
		return err
	}
	next, err := eve.Tasks().AcquireLock(ctx, "render-1", time.Second)
	if err != nil {
		return err
	}
	if err := disk.write(next.Context(), next.Token(), "by eve"); err != nil {
		return err
	}
	// He wakes up, and writes before he looks at his lease.
	late := disk.write(ctx, paused.Token(), "by bob")
	fmt.Println("bob's late write is refused:", errors.Is(late, fence.ErrStale), "and his lease lost:", errors.Is(paused.Err(), lockservice.ErrLost))
	fmt.Println("written", disk.text)
	return eve.Tasks().ReleaseLock(ctx, "render-1")
}

// holder waits until a peer sees that the named worker holds the task's lock.
func holder(ctx context.Context, a *agent.Agent, name string) error {
	sub, err := a.Watch(ctx, fleet.TaskLockKey("render-1"), agent.WithSnapshot())
	if err != nil {
		return err
	}
	defer sub.Close()
	for range sub.C() {
		if h, err := a.Tasks().Holder("render-1"); err == nil && h.Holder == name {
			fmt.Println(a.Name(), "sees that", h.Holder, "executes render-1")
			return nil
		}
	}
	return ctx.Err()
}
