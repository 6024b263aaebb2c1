// Queue shows a work queue. Each item is claimed by one worker at a time; one worker stalls and
// loses its item to another, and one item fails until it is dead.
//
//	go run ./examples/queue
//	go run ./examples/queue -join 127.0.0.1:7946 -cluster farm
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster")
	cluster = flag.String("cluster", "example-queue", "its name")
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
	var agents []*agent.Agent
	var seeds []string
	if *join != "" {
		seeds = append(seeds, *join)
	}
	names := []string{"ann", "bob", "eve"}
	for _, name := range names {
		a, err := agent.Open(ctx, agent.Config{Name: name, Cluster: *cluster, Seeds: seeds,
			Locks: agent.LockConfig{Voters: names, FirstBoot: true}}) // no voter ran before
		if err != nil {
			return err
		}
		defer a.Close(context.Background())
		seeds = append(seeds, a.Addr())
		agents = append(agents, a)
	}
	var queues []workqueue.Queue
	for _, a := range agents {
		if err := a.WaitReady(ctx); err != nil {
			return err
		}
		queues = append(queues, a.WorkQueue("mail"))
	}
	ann, bob, eve := queues[0], queues[1], queues[2]

	if _, err := ann.EnqueueAll(ctx, []workqueue.NewItem{
		{ID: "newsletter", Value: "a newsletter"},
		{ID: "alarm", Value: "an alarm", Priority: 9},
		{ID: "bounce", Value: "a letter to nobody", Priority: -1, MaxAttempts: 1},
	}); err != nil {
		return err
	}
	_, err := ann.Enqueue(ctx, "the same alarm", workqueue.WithID("alarm"))
	fmt.Println("an alarm twice is refused:", errors.Is(err, workqueue.ErrDuplicate))
	if err := agents[0].WaitReplicated(ctx, 2); err != nil {
		return err
	}

	urgent, err := bob.Claim(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("bob has %s first\n", urgent.ID)
	if err := urgent.Complete(ctx, "rung"); err != nil {
		return err
	}

	stalled, err := bob.Claim(ctx, workqueue.WithTTL(2*time.Second), workqueue.WithBearer())
	if err != nil {
		return err
	}
	fmt.Printf("bob has %s, and stalls\n", stalled.ID)
	<-stalled.Context().Done()
	for range 2 {
		c, err := eve.Claim(ctx)
		if err != nil {
			return err
		}
		if c.ID == "bounce" {
			err = c.Fail(ctx, errors.New("no such address")) // this was its only attempt
		} else {
			fmt.Printf("eve has %s, attempt %d\n", c.ID, c.Attempt)
			err = c.Complete(ctx, "sent by eve")
		}
		if err != nil {
			return err
		}
	}
	err = stalled.Complete(ctx, "sent by bob")
	fmt.Println("bob's late result is refused:", errors.Is(err, workqueue.ErrClaimLost))
	item, err := eve.Get("newsletter")
	if err != nil {
		return err
	}
	fmt.Printf("%s is %s: %v\n", item.ID, item.State, item.Result.Any())
	depth, err := eve.Depth()
	fmt.Printf("%d done, %d dead\n", depth.Done, depth.Dead)
	return err
}
