package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func TestSeedTasks(t *testing.T) {
	seed(t, "should synchronize task state", 3, nil, func(c *seedCase) {
		heal := c.cut()
		c.ok(c.peers[0].Tasks().SetState(c.Context(), "42", fleet.TaskState{Status: "running", Worker: "n0", Labels: []string{"gpu"}}))
		time.Sleep(time.Second)
		c.ok(c.peers[1].Tasks().SetState(c.Context(), "42", map[string]any{"priority": 7, "labels": []string{"eu"}, "owner": "team-a"}))
		heal()
		for _, p := range c.peers {
			got, err := p.Tasks().State("42")
			c.ok(err)
			c.equal("at "+p.Name(), got, fleet.TaskState{Status: "running", Worker: "n0", Priority: 7, Labels: []string{"eu", "gpu"}})
			free, err := GetAs[map[string]any](p, fleet.TaskStateKey("42"))
			c.ok(err)
			c.equal("a field of no struct", free["owner"], "team-a")
		}
		c.sees("task-sentinel/tasks/42/state", `{"labels":["eu","gpu"],"owner":"team-a","priority":7,"status":"running","worker":"n0"}`)
		if _, err := c.peers[2].Tasks().State("43"); !errors.Is(err, ErrNotFound) {
			c.Errorf("a task that is not: %v", err)
		}
	})
	seed(t, "should synchronize task progress", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Tasks().SetProgress(c.Context(), "42", 0.25, "decoding"), a.Tasks().SetProgress(c.Context(), "42", 0.5, ""))
		c.settle()
		got, err := b.Tasks().Progress("42")
		c.ok(err)
		c.equal("at b", got, fleet.TaskProgress{Progress: 0.5, Status: "decoding"})
		c.sees("task-sentinel/tasks/42/progress", `{"progress":0.5,"status":"decoding"}`)
		list, err := b.Tasks().List()
		c.ok(err)
		c.equal("listed at b", list, []string{"42"})
		c.ok(b.Agents().SetCoordination(c.Context(), "42", "coder", fleet.AgentInfo{Role: "x"}), b.Agents().SetCoordination(c.Context(), "43", "coder", fleet.AgentInfo{Role: "y"}),
			b.Tasks().Delete(c.Context(), "42"))
		c.settle()
		left, err := a.Keys("**")
		c.ok(err)
		c.equal("left at a after a delete at b", left, []string{fleet.AgentKey("43", "coder")})
	})
}

// workerIDs returns a function that returns the ids of a list of workers.
func workerIDs(t testing.TB) func([]fleet.Worker, error) []string {
	return func(list []fleet.Worker, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, w := range list {
			ids = append(ids, w.ID)
		}
		return ids
	}
}

func TestSeedWorkers(t *testing.T) {
	seed(t, "should synchronize worker status", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		status := fleet.WorkerStatus{Status: "busy", Task: "42", Running: 1, Labels: []string{"gpu"}}
		c.ok(a.Workers().SetStatus(c.Context(), "n0", status))
		c.settle()
		got, err := b.Workers().Status("n0")
		c.ok(err)
		c.equal("at b", got, status)
		e, _ := b.Entry("task-sentinel/workers/n0/status")
		c.equal("its kind and time to live", []any{e.Kind(), time.UnixMilli(int64(e.Expiry())).Sub(e.Stamp().Time())}, []any{crdt.Register, time.Hour})
	})
	seed(t, "should synchronize worker capacity", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Workers().SetCapacity(c.Context(), "n0", 4), a.Workers().SetStatus(c.Context(), "n0", fleet.WorkerStatus{Running: 1, Labels: []string{"gpu", "eu"}}),
			b.Workers().SetCapacity(c.Context(), "n1", 8))
		c.settle()
		n, err := b.Workers().Capacity("n0")
		c.ok(err)
		c.equal("at b", n, 4)
		ids := workerIDs(c)
		c.equal("with room for 2", ids(b.Workers().Find(2)), []string{"n1", "n0"})
		c.equal("with room for 4", ids(b.Workers().Find(4)), []string{"n1"})
		c.equal("with a label", ids(b.Workers().Find(3, "eu", "gpu")), []string{"n0"})
	})
	seed(t, "should list active workers by heartbeat", 3, nil, func(c *seedCase) {
		ids := workerIDs(c)
		for _, p := range c.peers {
			c.equal("active at "+p.Name(), ids(p.Workers().Active()), []string{"n0", "n1", "n2"})
		}
		c.ok(c.peers[1].Workers().Heartbeat(c.Context(), "python-7")) // a worker without a peer of its own beats through n1
		time.Sleep(time.Second)
		w, err := c.peers[0].Workers().Get("python-7")
		c.ok(err)
		c.equal("a guest", []string{w.Host, string(w.State)}, []string{"n1", "active"})
		time.Sleep(40 * time.Second) // its heartbeat is not renewed
		c.equal("active later", ids(c.peers[0].Workers().Active()), []string{"n0", "n1", "n2"})
		keys, err := c.peers[0].Keys("**")
		c.ok(err)
		c.equal("writes that heartbeats made", len(keys), 0)
	})
}

func TestSeedAgents(t *testing.T) {
	seed(t, "should synchronize agent coordination", 3, nil, func(c *seedCase) {
		heal := c.cut()
		c.ok(c.peers[0].Agents().SetCoordination(c.Context(), "42", "coder", fleet.AgentInfo{Role: "coder", Needs: []string{"plan"}}))
		c.ok(c.peers[1].Agents().SetCoordination(c.Context(), "42", "tester", fleet.AgentInfo{Role: "tester", Status: "waiting"}),
			c.peers[1].Agents().SetCoordination(c.Context(), "7", "idler", fleet.AgentInfo{Role: "of another task"}),
			c.peers[2].Agents().SetCoordination(c.Context(), "42", "coder", map[string]any{"status": "blocked", "needs": []string{"key"}}))
		heal()
		for _, p := range c.peers {
			got, err := p.Agents().Coordination("42", "coder")
			c.ok(err)
			c.equal("coder at "+p.Name(), got, fleet.AgentInfo{Role: "coder", Status: "blocked", Needs: []string{"key", "plan"}})
			list, err := p.Agents().List("42")
			c.ok(err)
			if len(list) != 2 || list[0].Agent != "coder" || list[1].Agent != "tester" || list[1].Status != "waiting" {
				c.Errorf("%s lists %+v", p.Name(), list)
			}
		}
	})
}

func TestSeedQueue(t *testing.T) {
	seed(t, "should synchronize queue state", 3, nil, func(c *seedCase) {
		c.ok(c.peers[0].Queue().SetState(c.Context(), fleet.QueueState{Pending: []string{"t3", "t1", "t2"}, Fields: map[string]any{"paused": false, "done": 5}}))
		c.settle()
		// Of two concurrent changes the seed kept only one.
		heal := c.cut()
		change := func(p *Agent, f func(*fleet.QueueState)) {
			s, err := p.Queue().State()
			c.ok(err)
			f(&s)
			c.ok(p.Queue().SetState(c.Context(), s))
		}
		change(c.peers[1], func(s *fleet.QueueState) { s.Pending = append(s.Pending, "t4"); s.Fields["done"] = 6 })
		time.Sleep(time.Second)
		change(c.peers[0], func(s *fleet.QueueState) { s.Pending, s.Processing = append(s.Pending[1:], "t5"), []string{"t3"} })
		heal()
		for _, p := range c.peers {
			s, err := p.Queue().State()
			c.ok(err)
			s = fleet.QueueState{Pending: s.Pending, Processing: s.Processing, Fields: s.Fields} // without the unexported field
			c.equal("at "+p.Name(), s, fleet.QueueState{Pending: []string{"t1", "t2", "t4", "t5"}, Processing: []string{"t3"}, Fields: map[string]any{"paused": false, "done": 6}})
		}
	})
	seed(t, "should synchronize assignments and metrics", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Queue().SetAssignments(c.Context(), map[string][]string{"w1": {"t1", "t2"}, "w2": {"t3"}}), a.Queue().SetMetrics(c.Context(), map[string]any{"done": 1, "rate": 0.5}))
		c.settle()
		heal := c.cut()
		c.ok(a.Queue().SetAssignments(c.Context(), map[string][]string{"w1": {"t2"}, "w2": nil}), a.Queue().SetMetrics(c.Context(), map[string]any{"done": 2}))
		c.ok(b.Queue().SetAssignments(c.Context(), map[string][]string{"w1": {"t1", "t2", "t9"}}), b.Queue().SetMetrics(c.Context(), map[string]any{"failed": 1}))
		heal()
		for _, p := range c.peers {
			tasks, err := p.Queue().Assignments()
			c.ok(err)
			c.equal("assignments at "+p.Name(), tasks, map[string][]string{"w1": {"t2", "t9"}})
			m, err := p.Queue().Metrics()
			c.ok(err)
			c.equal("metrics at "+p.Name(), m, map[string]any{"done": 2, "failed": 1, "rate": 0.5})
		}
	})
}

func TestSeedTaskLocks(t *testing.T) {
	vote := func(cfg *Config) { cfg.Locks = LockConfig{Voters: []string{"n0", "n1", "n2"}, FirstBoot: true} }
	seed(t, "should acquire and release task locks", 3, vote, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		l, err := a.Tasks().AcquireLock(c.Context(), "t1", 5*time.Second)
		c.ok(err)
		time.Sleep(8 * time.Second) // the lease is renewed by itself
		h, err := b.Tasks().Holder("t1")
		c.ok(err)
		c.equal("the holder, to b", h, fleet.TaskHolder{Holder: "n0", Token: l.Token()})
		short, cancel := context.WithTimeout(c.Context(), time.Second)
		defer cancel()
		if _, err := b.Tasks().AcquireLock(short, "t1", 5*time.Second); !errors.Is(err, lockservice.ErrTimeout) {
			c.Errorf("b, while a holds it: %v", err)
		}
		c.ok(a.Tasks().ReleaseLock(c.Context(), "t1"))
		next, err := b.Tasks().AcquireLock(c.Context(), "t1", 5*time.Second)
		c.ok(err)
		c.equal("b's token is higher", next.Token() > l.Token(), true)
		c.ok(b.Tasks().ReleaseLock(c.Context(), "t1"))
		time.Sleep(time.Second)
		_, err = a.Tasks().Holder("t1")
		c.equal("released, at a", errors.Is(err, ErrNotFound), true)
	})
}
