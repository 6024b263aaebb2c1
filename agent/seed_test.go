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
)

// The seed is the system that this one continues. Its test cases are here under their names. They counted
// writes to a simulated backend; here each case checks what another peer reads.

// seedCase is one case of the seed, on real agents in virtual time.
type seedCase struct {
	*testing.T
	net   *memnet.Network
	peers []*Agent
}

// seed runs a case with that many peers, three seconds after their start. tune may change their Config.
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

// settle waits until every peer has all writes.
func (c *seedCase) settle() {
	c.Helper()
	for _, p := range c.peers {
		ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
		c.ok(p.WaitReplicated(ctx, len(c.peers)-1))
		cancel()
	}
	synctest.Wait()
}

// cut separates the first peer from the others. heal ends the cut and waits until all peers agree.
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

// sees checks that every peer reads want at key.
func (c *seedCase) sees(key, want string) {
	c.Helper()
	for _, p := range c.peers {
		if v, ok := p.Get(key); !ok || v.String() != want {
			c.Errorf("%s reads %s as %s, want %s", p.Name(), key, v, want)
		}
	}
}

// equal checks that got and want print alike.
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
		next(c, sub) // the event of b's own write
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
		c.equal("the old clock happened before", before.Compare(b.Stats().Vector), clock.Before)
		c.equal("b's write, to a", next(c, sub).Order, clock.After)
		c.sees("k", `"second"`)
	})
}

func TestSeedConflictResolution(t *testing.T) {
	// Two peers write first and second on the two sides of a cut. After it all peers agree on want.
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
			state, err := p.Tasks().State("last") // Close sent it, since the batch interval is an hour
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
