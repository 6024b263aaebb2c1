package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
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
	v, err := task.Field()
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

	version, err := a.PutIf(ctx, "leader", "worker-1", 0) // only if the key is absent
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

// The program merges the values of this key by a resolver of its own, which runs when the key is read.
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

func ExampleTasks() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	tasks := a.Tasks()
	if err := tasks.SetState(ctx, "42", fleet.TaskState{Status: "running", Worker: a.Name()}); err != nil {
		log.Fatal(err)
	}
	if err := tasks.SetState(ctx, "42", map[string]any{"priority": 7, "customer": "acme"}); err != nil {
		log.Fatal(err)
	}
	if err := tasks.SetProgress(ctx, "42", 0.5, "rendering"); err != nil {
		log.Fatal(err)
	}

	state, err := tasks.State("42")
	fmt.Println(state.Status, state.Worker, state.Priority, err)
	v, _ := a.Get(fleet.TaskStateKey("42")) // the value also has the fields that the struct lacks
	fmt.Println(v)
	// Output:
	// running worker-1 7 <nil>
	// {"customer":"acme","priority":7,"status":"running","worker":"worker-1"}
}

func ExampleWorkers() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	workers := a.Workers()
	if err := workers.SetCapacity(ctx, a.Name(), 4); err != nil {
		log.Fatal(err)
	}
	if err := workers.SetStatus(ctx, a.Name(), fleet.WorkerStatus{Status: "busy", Running: 1, Labels: []string{"gpu"}}); err != nil {
		log.Fatal(err)
	}
	found, err := workers.Find(2, "gpu")
	for _, w := range found {
		fmt.Println(w.ID, w.State, w.Status, w.Free())
	}
	fmt.Println(err)
	// Output:
	// worker-1 active busy 3
	// <nil>
}

func ExampleAgents() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	for _, err := range []error{
		a.Agents().SetCoordination(ctx, "42", "planner", fleet.AgentInfo{Status: "done", Output: "three steps"}),
		a.Agents().SetCoordination(ctx, "42", "coder", fleet.AgentInfo{Status: "waiting", Needs: []string{"review"}}),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	list, err := a.Agents().List("42")
	for _, x := range list {
		fmt.Println(x.Agent, x.Status, x.Needs)
	}
	fmt.Println(err)
	// Output:
	// coder waiting [review]
	// planner done []
	// <nil>
}

// A scheduler reads the queue, changes it and writes it back. Changes that others made meanwhile stay.
func ExampleQueue() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "scheduler", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	if err := a.Queue().SetState(ctx, fleet.QueueState{Pending: []string{"a", "b"}}); err != nil {
		log.Fatal(err)
	}
	mine, _ := a.Queue().State()
	theirs, _ := a.Queue().State()
	theirs.Pending = append(theirs.Pending, "c")
	if err := a.Queue().SetState(ctx, theirs); err != nil {
		log.Fatal(err)
	}
	mine.Pending, mine.Processing = mine.Pending[1:], mine.Pending[:1]
	if err := a.Queue().SetState(ctx, mine); err != nil {
		log.Fatal(err)
	}
	now, err := a.Queue().State()
	fmt.Println(now.Pending, now.Processing, err)
	// Output: [b c] [a] <nil>
}

func ExampleAgent_WorkQueue() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	mail := a.WorkQueue("mail")
	if _, err := mail.Enqueue(ctx, "letter", workqueue.WithID("letter-7")); err != nil {
		log.Fatal(err)
	}
	_, err = mail.Enqueue(ctx, "letter", workqueue.WithID("letter-7"))
	fmt.Println(errors.Is(err, workqueue.ErrDuplicate))

	c, err := mail.Claim(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.ID, c.Value, c.Attempt)
	if err := c.Complete(ctx, "sent"); err != nil { // an error means that the claim was lost, and another worker may have the item
		log.Fatal(err)
	}
	item, err := mail.Get("letter-7")
	fmt.Println(item.State, item.Result, err)
	// Output:
	// true
	// letter-7 "letter" 1
	// done "sent" <nil>
}

// An update moves a task from one set to another, once only, and counts it.
func ExampleAgent_Update() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)
	if err := a.Set("tasks/open").Add(ctx, "42", "43"); err != nil {
		log.Fatal(err)
	}

	errTaken := errors.New("not open any more")
	for range 2 {
		var taken int64
		err := a.Update(ctx, func(tx *agent.Tx) error {
			if !tx.Has("tasks/open", "42") {
				return errTaken
			}
			tx.Remove("tasks/open", "42")
			tx.Add("tasks/running", "42")
			taken = tx.Increment("tasks/taken", 1)
			return nil
		})
		fmt.Println(taken, err)
	}
	open, _ := a.Get("tasks/open")
	running, _ := a.Get("tasks/running")
	fmt.Println(open, running)
	// Output:
	// 1 <nil>
	// 0 not open any more
	// ["43"] ["42"]
}

func ExampleAgent_Events() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	events := a.Events(ctx)
	if err := a.Tasks().SetState(ctx, "42", fleet.TaskState{Status: "running"}); err != nil {
		log.Fatal(err)
	}
	for e := range events.C {
		if e.Type == agent.TaskStateSynced {
			fmt.Println(e.Type, e.Name, e.Change.New)
			break
		}
	}
	// Output: task-state-synced 42 {"status":"running"}
}

func ExampleSet() {
	ctx := context.Background()
	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)

	tags := a.Set("tasks/42/tags")
	if err := tags.Add(ctx, "urgent", "gpu"); err != nil {
		log.Fatal(err)
	}
	if err := tags.Remove(ctx, "urgent"); err != nil {
		log.Fatal(err)
	}
	values, err := tags.Values()
	fmt.Println(values, err)
	// Output: ["gpu"] <nil>
}
