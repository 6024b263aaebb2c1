package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func ExampleOpen() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	if err := a.Put(ctx, "tasks/42", map[string]any{"status": "running", "by": "worker-1"}); err != nil {
		log.Fatal(err)
	}
	v, ok := a.Get("tasks/42")
	fmt.Println(v, ok)
	// Output: {"by":"worker-1","status":"running"} true
}

func ExampleAgent_Watch() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	if err := a.Put(ctx, "tasks/1", "done"); err != nil {
		log.Fatal(err)
	}
	sub, err := a.Watch(ctx, "tasks/*", agent.WithSnapshot())
	if err != nil {
		log.Fatal(err)
	}
	for e := range sub.C() {
		if e.Cause == agent.CauseSynced {
			break
		}
		fmt.Println(e.Key, e.New)
	}
	// Output: tasks/1 "done"
}

func ExampleAgent_Object() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	task := a.Object("tasks/42/state")
	if err := task.Patch(ctx, map[string]any{"status": "running", "tags": []string{"gpu"}}); err != nil {
		log.Fatal(err)
	}
	if err := task.Patch(ctx, map[string]any{"progress": 0.5, "tags": []string{"urgent"}}); err != nil {
		log.Fatal(err)
	}
	v, err := task.Get()
	fmt.Println(v, err)
	// Output: {"progress":0.5,"status":"running","tags":["gpu","urgent"]} <nil>
}

func ExampleAgent_PutIf() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	version, err := a.PutIf(ctx, "leader", "worker-1", 0) // only if nobody is
	fmt.Println(version != 0, err)
	_, err = a.PutIf(ctx, "leader", "worker-2", 0)
	conflict, lost := errors.AsType[*crdt.ConflictError](err)
	fmt.Println(lost, conflict.Have == version)
	// Output:
	// true <nil>
	// true true
}

func ExampleGetAs() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	type job struct {
		Image string `json:"image"`
		CPUs  int    `json:"cpus"`
	}
	if err := a.Put(ctx, "jobs/7", job{"render", 4}); err != nil {
		log.Fatal(err)
	}
	j, err := agent.GetAs[job](a, "jobs/7")
	fmt.Println(j.Image, j.CPUs, err)
	// Output: render 4 <nil>
}

// A key whose values only the user can merge: the resolver runs when it is read.
func ExampleConfig_resolvers() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{
		Name: "worker-1", Cluster: "farm",
		Rules: []crdt.Rule{{Pattern: "plans/*", Kind: crdt.Custom, Resolver: "longest"}},
		Resolvers: map[string]crdt.Resolver{
			"longest": func(siblings []crdt.Sibling) (crdt.Value, error) {
				best := siblings[0].Value
				for _, s := range siblings[1:] {
					if len(s.Value.Raw()) > len(best.Raw()) {
						best = s.Value
					}
				}
				return best, nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	if err := a.Put(ctx, "plans/today", "rest"); err != nil {
		log.Fatal(err)
	}
	v, _ := a.Get("plans/today")
	fmt.Println(v)
	// Output: "rest"
}
