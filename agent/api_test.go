package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func mustBe(t *testing.T, got crdt.Value, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryTypeReadsAsItWasWritten(t *testing.T) {
	a := open(t, Config{Name: "n1", Rules: []crdt.Rule{{Pattern: "best/*", Kind: crdt.Max}}})
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	tags := a.Set("tags")
	check(tags.Add(ctx, "b", 2, "a", 10, true))
	check(tags.Remove(ctx, 2))
	v, _ := a.Get("tags")
	mustBe(t, v, `[true,10,"a","b"]`)
	if n, err := tags.Len(); n != 4 || err != nil {
		t.Errorf("%d tags: %v", n, err)
	}
	if ok, err := tags.Has("a"); !ok || err != nil {
		t.Errorf("Contains: %t, %v", ok, err)
	}
	check(tags.Clear(ctx))
	if _, ok := a.Get("tags"); ok {
		t.Error("a cleared set is still there")
	}

	n := a.Counter("n")
	check(n.Add(ctx, 5))
	check(n.Add(ctx, -7))
	if got, err := n.Value(); got != -2 || err != nil {
		t.Errorf("counter: %d, %v", got, err)
	}
	check(n.Reset(ctx))
	if got, err := n.Value(); got != 0 || err != nil {
		t.Errorf("a reset counter: %d, %v", got, err)
	}

	check(a.Max("m").Bump(ctx, 3))
	check(a.Max("m").Bump(ctx, 2.5))
	v, err := a.Max("m").Value()
	check(err)
	mustBe(t, v, "3")
	check(a.Put(ctx, "best/x", 7)) // the rule of the key is a max, so Put bumps it
	check(a.Put(ctx, "best/x", 5))
	v, _ = a.Get("best/x")
	mustBe(t, v, "7")

	o := a.Object("o")
	check(o.Patch(ctx, map[string]any{"a": map[string]any{"b": 1, "c": "x"}, "l": []any{2, 1}}))
	check(o.Patch(ctx, map[string]any{"a": map[string]any{"b": nil, "d": true}, "l": []any{3}}))
	check(o.Put(ctx, 9, "a", "e"))
	check(o.Add(ctx, []string{"l"}, 4))
	check(o.Remove(ctx, []string{"l"}, 1))
	check(o.Increment(ctx, 2, "hits"))
	v, _ = a.Get("o")
	mustBe(t, v, `{"a":{"c":"x","d":true,"e":9},"hits":2,"l":[2,3,4]}`)
	v, err = o.Field("a", "e")
	check(err)
	mustBe(t, v, "9")
	check(o.Delete(ctx, "a"))
	v, _ = a.Get("o")
	mustBe(t, v, `{"hits":2,"l":[2,3,4]}`)
	check(o.Replace(ctx, map[string]any{"only": 1}))
	v, _ = a.Get("o")
	mustBe(t, v, `{"only":1}`)

	type task struct {
		Status string `json:"status"`
	}
	check(a.Put(ctx, "task", task{"running"}))
	for range 2 { // the first call decodes the value, the second one gets it from the cache
		if got, err := GetAs[task](a, "task"); got.Status != "running" || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	check(a.Put(ctx, "task", task{"done"}))
	if got, err := GetAs[task](a, "task"); got.Status != "done" || err != nil {
		t.Errorf("stale: %+v, %v", got, err)
	}
	if s := a.Stats(); s.CacheHits != 1 || s.CacheMisses != 2 {
		t.Errorf("%d hits, %d misses", s.CacheHits, s.CacheMisses)
	}
	if n, err := a.Cache().Invalidate("ta*"); n != 1 || err != nil || a.Cache().Len() != 0 {
		t.Errorf("invalidated %d, %v", n, err)
	}
	keys, err := a.Keys("*")
	check(err)
	if got := strings.Join(keys, " "); got != "m o task" {
		t.Errorf("keys: %s", got)
	}
}

func TestAnErrorSaysWhatWasWrong(t *testing.T) {
	a := open(t, Config{Name: "n1", Rules: []crdt.Rule{{Pattern: "s/*", Kind: crdt.Set}}})
	ctx := t.Context()
	var key *crdt.KeyError
	for _, k := range []string{"", strings.Repeat("k", wire.MaxKeyBytes+1), "\xff", "a\nb", "a/../b", "/a", "a/", "a//b", "."} {
		if err := a.Put(ctx, k, 1); !errors.As(err, &key) {
			t.Errorf("key %.20q: %v", k, err)
		}
		if err := a.Delete(ctx, k); !errors.As(err, &key) {
			t.Errorf("delete of key %.20q: %v", k, err)
		}
	}
	var value *crdt.ValueError
	for _, v := range []any{math.NaN(), "\xff", make(chan int), strings.Repeat("x", wire.MaxValueBytes)} {
		if err := a.Put(ctx, "k", v); !errors.As(err, &value) {
			t.Errorf("value of type %T: %v", v, err)
		}
	}
	if err := a.Max("m").Bump(ctx, "text"); !errors.As(err, &value) {
		t.Errorf("a text as a maximum: %v", err)
	}
	var kind *crdt.TypeError
	if err := a.Counter("s/x").Add(ctx, 1); !errors.As(err, &kind) || kind.Want != crdt.Counter || kind.Have != crdt.Set || kind.Rule != "s/*" {
		t.Errorf("against a rule: %v", err)
	}
	if err := a.Put(ctx, "reg", 1); err != nil {
		t.Fatal(err)
	}
	if err := a.Set("reg").Add(ctx, 1); !errors.As(err, &kind) || kind.Have != crdt.Register || kind.Rule != "" {
		t.Errorf("against the content: %v", err)
	}
	if _, err := a.Counter("reg").Value(); !errors.As(err, &kind) {
		t.Errorf("a read of another type: %v", err)
	}
	if _, err := GetAs[int](a, "absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	if _, err := a.Keys("["); err == nil {
		t.Error("a malformed pattern is accepted")
	}
	if _, err := a.Watch(ctx, ""); err == nil {
		t.Error("an empty pattern is accepted")
	}
	if err := a.Cut("n2"); !errors.Is(err, ErrFaultsDisabled) {
		t.Errorf("cut: %v", err)
	}
	if err := a.Forget("n9"); !errors.Is(err, ErrNotFound) {
		t.Errorf("forget: %v", err)
	}
}

func TestOptimisticLockingChecksThisPeersVersion(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	v1, err := a.PutIf(ctx, "k", 1, 0)
	if err != nil || v1 == 0 {
		t.Fatal(v1, err)
	}
	var conflict *crdt.ConflictError
	if _, err := a.PutIf(ctx, "k", 2, 0); !errors.As(err, &conflict) || conflict.Have != v1 {
		t.Errorf("a second creation: %v", err)
	}
	v2, err := a.PutIf(ctx, "k", 2, v1)
	if err != nil || v2 == v1 {
		t.Fatal(v2, err)
	}
	if err := a.Delete(ctx, "k", IfVersion(v1)); !errors.As(err, &conflict) {
		t.Errorf("a delete of an old version: %v", err)
	}
	if err := a.Delete(ctx, "k", IfVersion(v2)); err != nil {
		t.Error(err)
	}
}

func TestAnUpdateIsAllOrNothing(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	err := a.Update(ctx, func(tx *Tx) error {
		tx.Put("a", 1)
		tx.Increment("n", 2)
		tx.Add("s", "x")
		tx.Put("bad/", 1)
		tx.Put("worse//", 1)
		return nil
	})
	var key *crdt.KeyError
	if !errors.As(err, &key) || key.Key != "bad/" {
		t.Errorf("got %v", err)
	}
	if keys, _ := a.Keys("**"); len(keys) != 0 {
		t.Errorf("a refused update wrote %v", keys)
	}
	err = a.Update(ctx, func(tx *Tx) error {
		tx.Put("a", 1)
		tx.Increment("n", 2)
		tx.Add("s", "x")
		tx.Bump("m", 3)
		tx.Patch("o", map[string]any{"f": 1})
		tx.Delete("a")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if keys, _ := a.Keys("**"); strings.Join(keys, " ") != "m n o s" {
		t.Errorf("keys: %v", keys)
	}
	err = a.Update(ctx, func(tx *Tx) error {
		for range crdt.MaxOps + 1 {
			tx.Put("k", 1)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "1024") {
		t.Errorf("an update over the limit: %v", err)
	}
}

func TestATTLHidesAKeyAndTellsWatchers(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	sub, err := a.Watch(t.Context(), "**")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), "k", "v", WithTTL(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if e := next(t, sub); e.Cause != CausePut {
		t.Errorf("got %v", e.Cause)
	}
	if e := next(t, sub); e.Cause != CauseExpired || e.Old.String() != `"v"` || !e.New.IsZero() {
		t.Errorf("got %+v", e)
	}
	if _, ok := a.Get("k"); ok {
		t.Error("an expired key is still read")
	}
	if keys, _ := a.Keys("**"); len(keys) != 0 {
		t.Errorf("and listed: %v", keys)
	}
}

func TestASnapshotComesFirst(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	for _, k := range []string{"b", "a", "other/c"} {
		if err := a.Put(t.Context(), k, k); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := a.Watch(t.Context(), "*", WithSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := next(t, sub); e.Cause != CauseSynced; e = next(t, sub) {
		if e.Cause == CauseSnapshot { // events of the puts may follow
			got = append(got, e.Key)
		}
	}
	if strings.Join(got, " ") != "a b" {
		t.Errorf("snapshot of %v", got)
	}
	sub.Close()
	sub.Close()
	for range sub.C() {
	}
}

func TestAPanickingResolverOnlyFailsTheRead(t *testing.T) {
	peers := trio(t, func(c *Config) {
		c.Rules = []crdt.Rule{{Pattern: "r/*", Kind: crdt.Custom, Resolver: "bad"}}
		c.Resolvers = map[string]crdt.Resolver{"bad": func([]crdt.Sibling) (crdt.Value, error) { panic("no") }}
		c.Faults = true
	})
	if err := peers[0].Cut("n2", "n3"); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers[:2] {
		if err := p.Put(t.Context(), "r/x", p.Name()); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := peers[2].Watch(t.Context(), "r/*")
	if err != nil {
		t.Fatal(err)
	}
	if err := peers[0].Heal(); err != nil {
		t.Fatal(err)
	}
	for {
		next(t, sub)
		if e, ok := peers[2].Entry("r/x"); ok && len(e.Siblings()) == 2 {
			break
		}
	}
	if v, ok := peers[2].Get("r/x"); ok {
		t.Errorf("resolved to %s", v)
	}
	if _, err := GetAs[string](peers[2], "r/x"); err == nil {
		t.Error("no error")
	}
	if err := peers[2].Put(t.Context(), "r/x", "settled"); err != nil {
		t.Fatal(err)
	}
	if v, ok := peers[2].Get("r/x"); !ok || v.String() != `"settled"` {
		t.Errorf("after a write that saw both: %s", v)
	}
}

func TestAClosedAgentSaysSo(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	events := a.Events(t.Context())
	sub, err := a.Watch(t.Context(), "**")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(ctx); err != nil {
		t.Errorf("the second time: %v", err)
	}
	for name, err := range map[string]error{
		"Put":            a.Put(ctx, "k", 1),
		"Delete":         a.Delete(ctx, "k"),
		"Set.Add":        a.Set("s").Add(ctx, 1),
		"Update":         a.Update(ctx, func(*Tx) error { return nil }),
		"ForceSync":      a.ForceSync(ctx),
		"WaitReplicated": a.WaitReplicated(ctx, 1),
		"Forget":         a.Forget("x"),
		"Cut":            a.Cut("x"),
		"Watch":          func() error { _, err := a.Watch(ctx, "**"); return err }(),
		"GetAs":          func() error { _, err := GetAs[int](a, "k"); return err }(),
		"Set.Values":     func() error { _, err := a.Set("s").Values(); return err }(),
		"Keys":           func() error { _, err := a.Keys("**"); return err }(),
		"Conflicts":      func() error { _, err := a.Conflicts("**", 1); return err }(),
		"Heal":           a.Heal(),
		"Tasks.SetState": a.Tasks().SetState(ctx, "t", fleet.TaskState{}),
		"Tasks.State":    func() error { _, err := a.Tasks().State("t"); return err }(),
		"SetProgress":    a.Tasks().SetProgress(ctx, "t", 1, ""),
		"Tasks.List":     func() error { _, err := a.Tasks().List(); return err }(),
		"Tasks.Delete":   a.Tasks().Delete(ctx, "t"),
		"SetStatus":      a.Workers().SetStatus(ctx, "w", fleet.WorkerStatus{}),
		"SetCapacity":    a.Workers().SetCapacity(ctx, "w", 1),
		"Status":         func() error { _, err := a.Workers().Status("w"); return err }(),
		"Heartbeat":      a.Workers().Heartbeat(ctx),
		"Remove":         a.Workers().Remove(ctx, "w"),
		"Active":         func() error { _, err := a.Workers().Active(); return err }(),
		"Workers.List":   func() error { _, err := a.Workers().List(); return err }(),
		"Workers.Get":    func() error { _, err := a.Workers().Get("w"); return err }(),
		"Find":           func() error { _, err := a.Workers().Find(1); return err }(),
		"SetCoordinat.":  a.Agents().SetCoordination(ctx, "t", "x", fleet.AgentInfo{}),
		"Coordination":   func() error { _, err := a.Agents().Coordination("t", "x"); return err }(),
		"Agents.List":    func() error { _, err := a.Agents().List("t"); return err }(),
		"Queue.SetState": a.Queue().SetState(ctx, fleet.QueueState{}),
		"Queue.State":    func() error { _, err := a.Queue().State(); return err }(),
		"Assignments":    func() error { _, err := a.Queue().Assignments(); return err }(),
		"SetMetrics":     a.Queue().SetMetrics(ctx, map[string]any{"x": 1}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range sub.C() {
	}
	var last EventType
	for e := range events.C {
		if e.Type == Shutdown {
			last = e.Type
		}
	}
	if last != Shutdown {
		t.Error("no shutdown event")
	}
}

func TestABadConfigIsRefusedAtOnce(t *testing.T) {
	_, err := Open(t.Context(), Config{Name: "a/b", BatchInterval: -7, Rules: []crdt.Rule{
		{Pattern: "[", Kind: crdt.Set}, {Pattern: "x", Kind: crdt.Custom, Resolver: "none"},
	}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"name", "cluster", "batch interval", `"["`, "resolver"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not mention %s", err, want)
		}
	}
	if _, err := Open(t.Context(), Config{Name: "n", Cluster: "c", Bind: "0.0.0.0:0"}); err == nil {
		t.Error("plain text beyond loopback is accepted")
	}
}

func TestOptimisticWritesOfOnePeerLoseNothing(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			var have crdt.Version // version that the last write made
			n := int64(0)
			for range each {
				for {
					v, err := a.PutIf(ctx, "n", n+1, have)
					if err == nil {
						n, have = n+1, v
						break
					}
					var conflict *crdt.ConflictError
					if !errors.As(err, &conflict) {
						t.Error(err)
						return
					}
					e, _ := a.Entry("n")
					n, have = 0, e.Version()
					if err := e.Value().Decode(&n); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if v, _ := a.Get("n"); v.String() != strconv.Itoa(writers*each) {
		t.Errorf("%d increments made %v", writers*each, v)
	}
}

// Walk matches the pattern only for keys that are admitted, and stops when its context ends.
func TestAWalkOverKeysEndsWithWhoAsked(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	err := a.Update(t.Context(), func(tx *Tx) error {
		for i := range crdt.MaxOps {
			tx.Put(fmt.Sprintf("k/%04d", i), i)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	every := func(key string, _ crdt.Entry) bool {
		keys = append(keys, key)
		return true
	}
	err = a.Walk(t.Context(), "**", "", func(key string) bool { return strings.HasSuffix(key, "7") }, every)
	if err != nil || len(keys) != 102 || keys[0] != "k/0007" {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	keys = nil
	err = a.Walk(t.Context(), "k/*", "k/1019", nil, func(key string, e crdt.Entry) bool {
		keys = append(keys, key+"="+e.Value().String())
		return len(keys) < 2
	})
	if want := []string{"k/1020=1020", "k/1021=1021"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("%q, %v, want %q", keys, err, want)
	}
	keys = nil
	asked := 0
	refuse := func(string) bool { asked++; return false }
	if err := a.Walk(t.Context(), "{none,k/00}*", "", refuse, every); err != nil || len(keys) != 0 || asked != 100 {
		t.Errorf("%d keys, %v; %d rights were asked for, want those of the 100 keys that begin as the pattern does", len(keys), err, asked)
	}
	ctx, leave := context.WithCancel(t.Context())
	looked := 0
	err = a.Walk(ctx, "**", "", func(string) bool {
		if looked++; looked == 100 {
			leave()
		}
		return true
	}, every)
	if !errors.Is(err, context.Canceled) || looked > 200 {
		t.Errorf("%d keys were looked at, %v", looked, err)
	}
}
