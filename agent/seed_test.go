package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// The test cases of the system that this one continues, by their names. That system counted writes to a simulated backend; here each case
// asserts what another peer sees.

// seedCase runs one case on real agents in virtual time.
type seedCase struct {
	*testing.T
	net   *memnet.Network
	peers []*Agent
}

func seed(t *testing.T, name string, peers int, tune func(*Config), f func(c *seedCase)) {
	t.Run(name, func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network) {
			c := &seedCase{T: t, net: n}
			for i := range peers {
				c.peers = append(c.peers, virtual(t, n, i, tune))
			}
			time.Sleep(3 * time.Second)
			f(c)
		})
	})
}

// ok fails the case at the first error.
func (c *seedCase) ok(errs ...error) {
	c.Helper()
	for _, err := range errs {
		if err != nil {
			c.Fatal(err)
		}
	}
}

// settle waits until every peer has what all wrote.
func (c *seedCase) settle() {
	c.Helper()
	for _, p := range c.peers {
		ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
		c.ok(p.WaitReplicated(ctx, len(c.peers)-1))
		cancel()
	}
	synctest.Wait()
}

// cut parts the first peer from the rest, long enough for both sides to notice, and
// returns what ends the cut.
func (c *seedCase) cut() (heal func()) {
	first, rest := []string{address(0)}, []string{}
	for i := 1; i < len(c.peers); i++ {
		rest = append(rest, address(i))
	}
	c.net.Split(first, rest)
	return func() {
		c.net.Heal()
		time.Sleep(20 * time.Second)
		c.settle()
	}
}

// sees demands that every peer reads key as want.
func (c *seedCase) sees(key, want string) {
	c.Helper()
	for _, p := range c.peers {
		if v, ok := p.Get(key); !ok || v.String() != want {
			c.Errorf("%s reads %s as %s, want %s", p.Name(), key, v, want)
		}
	}
}

func (c *seedCase) equal(what string, got, want any) {
	c.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		c.Errorf("%s: %s, want %s", what, g, w)
	}
}

func TestSeedVectorClock(t *testing.T) {
	seed(t, "should increment the clock for local events", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		for i := range 3 {
			c.ok(a.Put(c.Context(), "k", i))
		}
		c.settle()
		c.equal("a's entry at b", b.Stats().Vector.Get(a.Actor()), 3)
		_, _ = b.Get("k")
		c.equal("a read is no event", b.Stats().Vector.Get(b.Actor()), 0)
	})
	seed(t, "should update the clock from a remote one", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Put(c.Context(), "x", 1), a.Put(c.Context(), "y", 1), b.Put(c.Context(), "z", 1))
		c.settle()
		want := clock.Vector{a.Actor(): 2, b.Actor(): 1}
		for _, p := range c.peers {
			c.equal("the order of "+p.Name()+"'s clock to the join of both", p.Stats().Vector.Compare(want), clock.Equal)
		}
	})
	seed(t, "should detect concurrent events", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		sub, err := b.Watch(c.Context(), "k")
		c.ok(err)
		heal := c.cut()
		c.ok(a.Put(c.Context(), "k", "a"), b.Put(c.Context(), "k", "b"))
		c.equal("the clocks meanwhile", a.Stats().Vector.Compare(b.Stats().Vector), clock.Concurrent)
		heal()
		next(c, sub) // b's own
		c.equal("a's write, to b", next(c, sub).Order, clock.Concurrent)
	})
	seed(t, "should determine happened-before", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Put(c.Context(), "k", "first"))
		c.settle()
		before := a.Stats().Vector
		sub, err := a.Watch(c.Context(), "k")
		c.ok(err)
		c.ok(b.Put(c.Context(), "k", "second"))
		c.settle()
		c.equal("the old clock happened before", before.HappenedBefore(b.Stats().Vector), true)
		c.equal("b's write, to a", next(c, sub).Order, clock.After)
		c.sees("k", `"second"`)
	})
}

func TestSeedConflictResolution(t *testing.T) {
	// Each writes one side of a conflict while cut off; then all agree on want.
	conflict := func(name string, rule crdt.Rule, resolver crdt.Resolver, first, second any, want string) {
		tune := func(cfg *Config) {
			cfg.Rules = []crdt.Rule{rule}
			if resolver != nil {
				cfg.Resolvers = map[string]crdt.Resolver{rule.Resolver: resolver}
			}
		}
		seed(t, name, 3, tune, func(c *seedCase) {
			heal := c.cut()
			c.ok(c.peers[0].Put(c.Context(), "k", first))
			time.Sleep(time.Second)
			c.ok(c.peers[1].Put(c.Context(), "k", second))
			heal()
			c.sees("k", want)
		})
	}
	conflict("should resolve by last write wins", crdt.Rule{Pattern: "k", Kind: crdt.Register}, nil, "early", "late", `"late"`)
	conflict("should merge arrays", crdt.Rule{Pattern: "k", Kind: crdt.Set}, nil, []string{"a", "b"}, []string{"b", "c"}, `["a","b","c"]`)
	conflict("should merge objects deeply", crdt.Rule{Pattern: "k", Kind: crdt.Object}, nil,
		map[string]any{"n": map[string]any{"a": 1, "both": "early"}}, map[string]any{"n": map[string]any{"b": 2, "both": "late"}},
		`{"n":{"a":1,"b":2,"both":"late"}}`)
	longest := func(siblings []crdt.Sibling) (crdt.Value, error) {
		return slices.MaxFunc(siblings, func(x, y crdt.Sibling) int { return len(x.Value.Raw()) - len(y.Value.Raw()) }).Value, nil
	}
	conflict("should use a custom resolver", crdt.Rule{Pattern: "k", Kind: crdt.Custom, Resolver: "longest"}, longest, "a long one", "short", `"a long one"`)
}

func TestSeedCache(t *testing.T) {
	type item struct{ N int }
	seed(t, "should cache reads", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Put(c.Context(), "k", item{1}))
		c.settle()
		for range 3 {
			got, err := GetAs[item](b, "k")
			c.ok(err)
			c.equal("read at b", got, item{1})
		}
		s := b.Stats()
		c.equal("misses and hits at b", []uint64{s.CacheMisses, s.CacheHits}, []uint64{1, 2})
		c.ok(a.Put(c.Context(), "k", item{2}))
		c.settle()
		got, err := GetAs[item](b, "k")
		c.ok(err)
		c.equal("after a remote write", got, item{2})
	})
	seed(t, "should expire entries after their time", 2, func(cfg *Config) { cfg.CacheTTL = time.Minute }, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		c.ok(a.Put(c.Context(), "k", item{1}), a.Put(c.Context(), "short", item{1}, WithTTL(time.Minute)))
		c.settle()
		read := func(key string) error { _, err := GetAs[item](b, key); return err }
		c.ok(read("k"), read("short"))
		time.Sleep(2 * time.Minute)
		c.ok(read("k"))
		c.equal("decoded anew", b.Stats().CacheMisses, 3)
		if err := read("short"); !errors.Is(err, ErrNotFound) {
			c.Errorf("an expired key is read from the cache: %v", err)
		}
	})
	seed(t, "should invalidate by pattern and evict the oldest", 2, func(cfg *Config) { cfg.CacheSize = 3 }, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		for i := range 4 {
			c.ok(a.Put(c.Context(), fmt.Sprint("t/", i), item{i}))
		}
		c.settle()
		for i := range 4 {
			_, err := GetAs[item](b, fmt.Sprint("t/", i))
			c.ok(err)
		}
		c.equal("kept of 4 with room for 3", b.Cache().Len(), 3)
		n, err := b.Cache().Invalidate("t/*")
		c.ok(err)
		c.equal("invalidated", []int{n, b.Cache().Len()}, []int{3, 0})
		_, err = GetAs[item](b, "t/1")
		c.ok(err)
		b.Cache().Clear()
		c.equal("cleared", b.Cache().Len(), 0)
	})
}

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
		c.ok(c.peers[1].Workers().Heartbeat(c.Context(), "python-7")) // a guest of n1
		time.Sleep(time.Second)
		w, err := c.peers[0].Workers().Get("python-7")
		c.ok(err)
		c.equal("a guest", []string{w.Host, string(w.State)}, []string{"n1", "active"})
		time.Sleep(40 * time.Second) // it beats no more
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
		// The seed lost one of two concurrent changes.
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
			s = fleet.QueueState{Pending: s.Pending, Processing: s.Processing, Fields: s.Fields} // as if it were made anew
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

func TestSeedSubscriptions(t *testing.T) {
	seed(t, "should notify subscribers", 3, nil, func(c *seedCase) {
		var subs []*Subscription
		for _, p := range c.peers {
			s, err := p.Watch(c.Context(), "task-sentinel/tasks/*/state")
			c.ok(err)
			subs = append(subs, s)
		}
		events := c.peers[2].Events(c.Context())
		c.ok(c.peers[0].Put(c.Context(), "other", 1), c.peers[0].Tasks().SetState(c.Context(), "42", fleet.TaskState{Status: "done"}))
		c.settle()
		for i, s := range subs {
			e := next(c, s)
			c.equal("at "+c.peers[i].Name(), []any{e.Key, e.New, e.Writer, e.Local}, []any{fleet.TaskStateKey("42"), `{"status":"done"}`, "n0", i == 0})
		}
		told := map[EventType]string{}
		for len(events.C) > 0 {
			e := <-events.C
			told[e.Type] = e.Name
		}
		c.equal("the event of the task at n2", told[TaskStateSynced], "42")
	})
	seed(t, "should stop notifying after unsubscribe", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		sub, err := b.Watch(c.Context(), "k/*")
		c.ok(err)
		c.equal("subscriptions", b.Stats().Subscriptions, 1)
		sub.Close()
		sub.Close()
		synctest.Wait()
		c.ok(a.Put(c.Context(), "k/1", 1))
		c.settle()
		if e, open := <-sub.C(); open {
			c.Errorf("got %+v", e)
		}
		c.equal("subscriptions", b.Stats().Subscriptions, 0)
		c.sees("k/1", "1")
	})
}

func TestSeedBatching(t *testing.T) {
	seed(t, "should batch writes", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		sent := a.Stats().Flushes
		for i := range 50 {
			c.ok(a.Put(c.Context(), fmt.Sprint("k/", i), i))
		}
		time.Sleep(90 * time.Millisecond)
		keys := func() int { list, err := b.Keys("k/*"); c.ok(err); return len(list) }
		c.equal("at b before the interval", keys(), 0)
		time.Sleep(20 * time.Millisecond)
		c.equal("at b after it", keys(), 50)
		c.equal("flushes for 50 writes", a.Stats().Flushes-sent, 1)
	})
	seed(t, "should flush on force sync", 2, func(cfg *Config) { cfg.BatchInterval = time.Hour }, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		events := a.Events(c.Context())
		c.ok(a.Put(c.Context(), "k", 1))
		synctest.Wait()
		if _, ok := b.Get("k"); ok {
			c.Error("b has it before the flush")
		}
		c.ok(a.ForceSync(c.Context()))
		time.Sleep(100 * time.Millisecond)
		c.sees("k", "1")
		var told []string
		for len(events.C) > 0 {
			told = append(told, string((<-events.C).Type))
		}
		for _, want := range []EventType{Wrote, BatchFlushed, ForcedSync} {
			if !slices.Contains(told, string(want)) {
				c.Errorf("no event %s among %v", want, told)
			}
		}
	})
}

func TestSeedLifecycle(t *testing.T) {
	seed(t, "should report metrics", 2, nil, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		heal := c.cut()
		c.ok(a.Put(c.Context(), "k", 1), b.Put(c.Context(), "k", 2))
		heal()
		_, _ = b.Entry("k")
		s := b.Stats()
		c.equal("writes, reads, conflicts", []bool{s.Writes == 1, s.Reads > 0, s.Conflicts == 1}, []bool{true, true, true})
		c.equal("pending, cache", []int{s.PendingWrites, s.CacheMax}, []int{0, 1000})
		c.equal("vector", s.Vector, clock.Vector{a.Actor(): 1, b.Actor(): 1})
	})
	seed(t, "should shut down cleanly", 3, func(cfg *Config) { cfg.BatchInterval = time.Hour }, func(c *seedCase) {
		a, ids := c.peers[0], workerIDs(c)
		c.ok(a.Workers().SetStatus(c.Context(), "n0", fleet.WorkerStatus{Status: "idle"}), a.Workers().SetCapacity(c.Context(), "n0", 2), a.Workers().Heartbeat(c.Context(), "guest"),
			a.Tasks().SetState(c.Context(), "last", fleet.TaskState{Status: "done"}))
		began := time.Now()
		c.ok(a.Close(c.Context()), a.Close(c.Context()))
		if took := time.Since(began); took > 4*time.Second {
			c.Errorf("it took %v", took)
		}
		for _, p := range c.peers[1:] {
			state, err := p.Tasks().State("last") // the interval was an hour
			c.ok(err)
			c.equal("the last write at "+p.Name(), state.Status, "done")
			c.equal("active at once at "+p.Name(), ids(p.Workers().Active()), []string{"n1", "n2"})
			c.equal("known at "+p.Name(), ids(p.Workers().List()), []string{"n1", "n2"})
			left, err := p.Keys("task-sentinel/workers/**")
			c.ok(err)
			c.equal("what is left of it at "+p.Name(), strings.Join(left, " "), "")
		}
	})
}

func TestSeedTaskLocks(t *testing.T) {
	vote := func(cfg *Config) { cfg.Locks = LockConfig{Voters: []string{"n0", "n1", "n2"}, FirstBoot: true} }
	seed(t, "should acquire and release task locks", 3, vote, func(c *seedCase) {
		a, b := c.peers[0], c.peers[1]
		l, err := a.Tasks().AcquireLock(c.Context(), "t1", 5*time.Second)
		c.ok(err)
		time.Sleep(8 * time.Second) // renewed by itself
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
