// Agents shows three agents, each a peer of its own, that share one task. Each agent waits for what
// it needs from another, does its part, and reports it.
//
//	go run ./examples/agents
//	go run ./examples/agents -join 127.0.0.1:7946 -cluster farm
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

var (
	join    = flag.String("join", "", "address of a peer of a running cluster")
	cluster = flag.String("cluster", "example-agents", "its name")
)

const task = "login-page"

// part is the part of one agent, and the agent it waits for.
type part struct {
	name, after string
	do          func(input any) (output any)
}

var parts = []part{
	{"planner", "", func(any) any { return "a form with two fields" }},
	{"coder", "planner", func(plan any) any { return fmt.Sprintf("code for %v", plan) }},
	{"tester", "coder", func(code any) any { return fmt.Sprintf("passed: %v", code) }},
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
	var peers []*agent.Agent
	for _, p := range parts {
		var seeds []string
		if *join != "" {
			seeds = append(seeds, *join)
		}
		if len(peers) > 0 {
			seeds = append(seeds, peers[0].Addr())
		}
		a, err := agent.Open(ctx, agent.Config{Name: p.name, Cluster: *cluster, Seeds: seeds, BatchInterval: agent.AtOnce})
		if err != nil {
			return err
		}
		defer a.Close(context.Background())
		peers = append(peers, a)
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { errs[i] = p.play(ctx, peers[i]) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	// Any peer can show all parts, once it has received them.
	sub, err := peers[2].Watch(ctx, fleet.AgentKey(task, "*"), agent.WithSnapshot())
	if err != nil {
		return err
	}
	defer sub.Close()
	for range sub.C() {
		list, err := peers[2].Agents().List(task)
		if err != nil {
			return err
		}
		if len(list) < len(parts) {
			continue
		}
		for _, x := range list {
			fmt.Printf("%s: %s\n", x.Agent, x.Status)
		}
		return nil
	}
	return ctx.Err()
}

// play waits for the previous agent, does this agent's part and reports it.
func (p part) play(ctx context.Context, a *agent.Agent) error {
	input, err := p.wait(ctx, a)
	if err != nil {
		return err
	}
	output := p.do(input)
	fmt.Printf("%s made %q\n", p.name, output)
	return a.Agents().SetCoordination(ctx, task, p.name, fleet.AgentInfo{Role: p.name, Status: "done", Output: output})
}

// wait returns what the previous agent made.
func (p part) wait(ctx context.Context, a *agent.Agent) (any, error) {
	if p.after == "" {
		return nil, nil
	}
	// The watch begins with a snapshot, since the previous part may be done already.
	sub, err := a.Watch(ctx, fleet.AgentKey(task, p.after), agent.WithSnapshot())
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	for range sub.C() {
		if info, err := a.Agents().Coordination(task, p.after); err == nil && info.Status == "done" {
			return info.Output, nil
		}
	}
	return nil, ctx.Err()
}
