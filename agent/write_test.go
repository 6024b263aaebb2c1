package agent

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// A Put without WithKind keeps the type of the key. Only WithKind changes it.
func TestAPutKeepsTheTypeOfItsKey(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	holds := func(key string, kind crdt.Kind, value string) {
		t.Helper()
		if e, _ := a.Entry(key); e.Kind() != kind || e.Value().String() != value {
			t.Errorf("%s is the %v %v, want the %v %s", key, e.Kind(), e.Value(), kind, value)
		}
	}
	must(a.Set("s").Add(ctx, "a", "b"))
	must(a.Put(ctx, "s", []string{"c", "b"}))
	holds("s", crdt.Set, `["b","c"]`)
	if bad := (*wire.ValueError)(nil); !errors.As(a.Put(ctx, "s", 1), &bad) {
		t.Error("a set took a number")
	}
	must(a.Object("o").Patch(ctx, map[string]any{"x": 1, "y": map[string]any{"z": 2}}))
	must(a.Put(ctx, "o", map[string]any{"x": 3}))
	holds("o", crdt.Object, `{"x":3}`)
	must(a.Object("o").Put(ctx, map[string]any{"x": 4}))
	must(a.Object("new").Put(ctx, map[string]any{"x": 4}))
	holds("o", crdt.Object, `{"x":4}`)
	holds("new", crdt.Object, `{"x":4}`)
	must(a.Max("m").Bump(ctx, 7))
	must(a.Put(ctx, "m", 3))
	holds("m", crdt.Max, "7")
	must(a.Counter("c").Add(ctx, 7))
	if bad := (*crdt.TypeError)(nil); !errors.As(a.Put(ctx, "c", 1), &bad) || bad.Have != crdt.Counter {
		t.Error("a counter was assigned")
	}
	if bad := (*wire.ValueError)(nil); !errors.As(a.Put(ctx, "absent", 1, WithKind(crdt.Counter)), &bad) {
		t.Error("an absent counter was assigned")
	}
	holds("c", crdt.Counter, "7")

	write := func(opts ...WriteOption) error {
		return a.Update(ctx, func(tx *Tx) error {
			tx.Put("s", []string{"d"}, opts...)
			tx.Put("r", []string{"d"})
			return nil
		})
	}
	if err := write(IfVersion(1)); err == nil {
		t.Fatal("committed against a wrong version")
	}
	must(a.Put(ctx, "s", 1, WithKind(crdt.Register)))
	holds("s", crdt.Register, "1")
	must(write()) // an update follows the type that the key has now
	holds("s", crdt.Register, `["d"]`)

	must(a.Set("brief").Add(ctx, 1))
	must(a.Put(ctx, "brief", []int{2}, WithTTL(30*time.Millisecond)))
	holds("brief", crdt.Set, "[2]")
}

func TestACounterRefusesWhatItCannotHold(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	f := func(key string, n, want int64) {
		t.Helper()
		before, _ := a.Counter(key).Value()
		err := a.Counter(key).Add(ctx, n)
		if before+n == want != (err == nil) {
			t.Errorf("%d and %d: %v", before, n, err)
		}
		if bad := (*wire.ValueError)(nil); err != nil && !errors.As(err, &bad) {
			t.Errorf("%d and %d: %T", before, n, err)
		}
		if got, _ := a.Counter(key).Value(); got != want {
			t.Errorf("%d and %d made %d, want %d", before, n, got, want)
		}
	}
	f("up", math.MaxInt64-1, math.MaxInt64-1)
	f("up", 2, math.MaxInt64-1)
	f("up", 1, math.MaxInt64)
	f("up", 1, math.MaxInt64)
	f("up", -3, math.MaxInt64-3)
	f("down", math.MinInt64, 0)
	f("down", -math.MaxInt64, -math.MaxInt64)
	f("down", -1, -math.MaxInt64)
	if err := a.Object("o").Increment(ctx, math.MaxInt64, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := a.Object("o").Increment(ctx, 1, "a", "b"); err == nil {
		t.Error("a counter in an object went past its end")
	}
	if err := a.Object("o").Increment(ctx, 1, "a", "c"); err != nil {
		t.Error(err)
	}
}

// With any arguments a write succeeds or is refused, and the next write succeeds.
func TestNothingACallerHandsOverStopsTheNextWrite(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	b := open(t, Config{Name: "n2", Seeds: []string{a.Addr()}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	absent, _ := a.Get("nothing")
	q := a.WorkQueue("q")
	for _, x := range []any{absent, nil, struct{}{}, (*int)(nil), map[string]any(nil), []any{absent}, map[string]any{"f": absent}, make(chan int), math.NaN()} {
		for name, write := range map[string]func() error{
			"Put":         func() error { return a.Put(ctx, "put", x) },
			"PutSet":      func() error { return a.Put(ctx, "set", x, WithKind(crdt.Set)) },
			"PutObject":   func() error { return a.Put(ctx, "object", x, WithKind(crdt.Object)) },
			"PutMax":      func() error { return a.Put(ctx, "max", x, WithKind(crdt.Max)) },
			"PutCustom":   func() error { return a.Put(ctx, "custom", x, WithKind(crdt.Custom)) },
			"PutIf":       func() error { _, err := a.PutIf(ctx, "if", x, 0); return err },
			"Report":      func() error { return a.Put(ctx, "report", x, ReportVersion(nil)) },
			"Set.Add":     func() error { return a.Set("s").Add(ctx, x) },
			"Set.Remove":  func() error { return a.Set("s").Remove(ctx, x) },
			"Max.Bump":    func() error { return a.Max("m").Bump(ctx, x) },
			"Patch":       func() error { return a.Object("o").Patch(ctx, x) },
			"Replace":     func() error { return a.Object("o").Replace(ctx, x) },
			"Object.Put":  func() error { return a.Object("o").Put(ctx, x, "p") },
			"Object.Add":  func() error { return a.Object("o").Add(ctx, []string{"t"}, x) },
			"Object.Less": func() error { return a.Object("o").Remove(ctx, []string{"t"}, x) },
			"Tx.Put":      func() error { return a.Update(ctx, func(tx *Tx) error { tx.Put("bp", x); return nil }) },
			"Tx.Patch":    func() error { return a.Update(ctx, func(tx *Tx) error { tx.Patch("bo", x); return nil }) },
			"Tx.Bump":     func() error { return a.Update(ctx, func(tx *Tx) error { tx.Bump("bm", x); return nil }) },
			"Tx.Add": func() error {
				return a.Update(ctx, func(tx *Tx) error { tx.Add("bs", x); tx.Remove("bs", x); return nil })
			},
			"SetState":     func() error { return a.Tasks().SetState(ctx, "42", x) },
			"Queue":        func() error { return a.Queue().SetState(ctx, fleet.QueueState{Fields: map[string]any{"f": x}}) },
			"QueueState":   func() error { return a.Queue().SetState(ctx, fleet.QueueState{}) },
			"Metrics":      func() error { return a.Queue().SetMetrics(ctx, x) },
			"WorkerStatus": func() error { return a.Workers().SetStatus(ctx, "w", x) },
			"Enqueue":      func() error { _, err := q.Enqueue(ctx, x); return err },
		} {
			if err := write(); err == nil && x == any(absent) && !slices.Contains([]string{"Queue", "QueueState", "Enqueue"}, name) {
				t.Errorf("%s takes an absent value", name)
			}
			if err := a.Put(ctx, "next", name); err != nil {
				t.Fatalf("after %s of %#v: %v", name, x, err)
			}
		}
	}
	if err := a.WaitReplicated(ctx, 1); err != nil {
		t.Errorf("the other peer has not taken all: %v", err)
	}
	if n := b.Stats().Gossip.Refused; len(n) > 0 {
		t.Errorf("the other peer has refused frames: %v", n)
	}
}
