package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func TestAnUpdateReadsItsOwnWrites(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	if err := errors.Join(a.Set("s").Add(ctx, "old"), a.Put(ctx, "k", 1)); err != nil {
		t.Fatal(err)
	}
	before, _ := a.Entry("k")
	var made crdt.Version
	err := a.Update(ctx, func(tx *Tx) error {
		if !tx.Has("s", "old") || tx.Has("s", "new") || tx.Has("absent", 1) || tx.Version("k") != before.Version() {
			t.Error("what was there before is read wrongly")
		}
		tx.Check("k", before.Version())
		tx.Check("absent", 0)
		tx.Add("s", "new")
		tx.Remove("s", "old")
		if tx.Has("s", "old") || !tx.Has("s", "new") {
			t.Error("the elements are not those that were written")
		}
		tx.Put("k", map[string]any{"a": 1}, WithKind(crdt.Object), ReportVersion(&made))
		tx.Patch("k", map[string]any{"b": 2})
		if v, ok := tx.Get("k"); !ok || v.String() != `{"a":1,"b":2}` {
			t.Errorf("read %v", v)
		}
		if n := tx.Increment("n", 5) + tx.Increment("n", -2); n != 5+3 {
			t.Errorf("the sums add up to %d", n)
		}
		tx.Delete("k")
		if v, ok := tx.Get("k"); ok {
			t.Errorf("a deleted key holds %v", v)
		}
		tx.Put("k", "last")
		return tx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	after, _ := a.Entry("k")
	if s, _ := a.Get("s"); after.Value().String() != `"last"` || after.Version() != made || s.String() != `["new"]` {
		t.Errorf("k holds %v with version %v, reported %v; s holds %v", after.Value(), after.Version(), made, s)
	}
}

// An update that fails in any way writes nothing, and the peer goes on.
func TestAnUpdateThatFailsWritesNothing(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	if err := a.Put(ctx, "there", 1); err != nil {
		t.Fatal(err)
	}
	own := errors.New("decided otherwise")
	var conflict *crdt.ConflictError
	var order *crdt.OrderError
	var kind *crdt.TypeError
	var value *crdt.ValueError
	for name, c := range map[string]struct {
		decide func(tx *Tx) error
		is     func(error) bool
	}{
		"its own error":       {func(tx *Tx) error { return own }, func(err error) bool { return err == own }},
		"a check that fails":  {func(tx *Tx) error { tx.Check("there", 0); return nil }, func(err error) bool { return errors.As(err, &conflict) }},
		"a check too late":    {func(tx *Tx) error { tx.Check("k", 0); return nil }, func(err error) bool { return errors.As(err, &order) }},
		"a version too late":  {func(tx *Tx) error { tx.Version("k"); return nil }, func(err error) bool { return errors.As(err, &order) }},
		"no set":              {func(tx *Tx) error { tx.Has("there", 1); return nil }, func(err error) bool { return errors.As(err, &kind) }},
		"a wrong type":        {func(tx *Tx) error { tx.Increment("there", 1); return nil }, func(err error) bool { return errors.As(err, &kind) }},
		"a wrong value":       {func(tx *Tx) error { tx.Bump("m", "high"); return nil }, func(err error) bool { return errors.As(err, &value) && strings.Contains(err.Error(), `"m"`) }},
		"a wrong element":     {func(tx *Tx) error { tx.Add("s", make(chan int)); return nil }, func(err error) bool { return err != nil }},
		"the first of faults": {func(tx *Tx) error { tx.Check("there", 0); tx.Put("a//b", 1); return nil }, func(err error) bool { return errors.As(err, &conflict) }},
	} {
		err := a.Update(ctx, func(tx *Tx) error {
			tx.Put("k", name)
			return c.decide(tx)
		})
		if !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	thrown := func() (p any) {
		defer func() { p = recover() }()
		_ = a.Update(ctx, func(tx *Tx) error {
			tx.Put("k", "thrown")
			panic("thrown")
		})
		return nil
	}()
	if thrown != "thrown" {
		t.Errorf("a panic became %v", thrown)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = a.Update(ctx, func(tx *Tx) error {
			tx.Put("k", "left")
			runtime.Goexit()
			return nil
		})
	}()
	<-left
	if keys, err := a.Keys("**"); len(keys) != 1 || err != nil {
		t.Errorf("refused updates wrote %v, %v", keys, err)
	}
	if err := a.Put(ctx, "k", 1); err != nil {
		t.Errorf("the next write: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.Update(ended, func(*Tx) error { t.Error("decided in vain"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A function that calls a peer fails; it does not wait for itself.
func TestAnUpdateMustNotCallAPeer(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	b := open(t, Config{Name: "n2"})
	ctx := t.Context()
	if err := a.Set("s").Add(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(){
		"Put":       func() { _ = a.Put(ctx, "k", 1) },
		"Update":    func() { _ = a.Update(ctx, func(*Tx) error { return nil }) },
		"Entry":     func() { a.Entry("s") }, // nobody has read the set since it was written
		"Stats":     func() { a.Stats() },
		"ForceSync": func() { _ = a.ForceSync(ctx) },
		"WaitReady": func() { _ = a.WaitReady(ctx) },
		"Enqueue":   func() { _, _ = a.WorkQueue("q").Enqueue(ctx, 1) },
		"Close":     func() { _ = a.Close(ctx) },
		"deep": func() {
			var deeper func(n int)
			deeper = func(n int) {
				if n > 0 {
					deeper(n - 1)
				}
				_ = a.Put(ctx, "k", 1)
			}
			deeper(300)
		},
	} {
		err := a.Update(ctx, func(tx *Tx) error {
			tx.Put("k", name)
			call()
			t.Errorf("%s returned", name)
			return nil
		})
		if !errors.Is(err, ErrInUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := a.Get("k"); ok {
		t.Error("an update that called a peer wrote something")
	}

	// Two functions that call each other's peers would wait for each other.
	var both sync.WaitGroup
	inside := make(chan struct{}, 2)
	errs := make([]error, 2)
	for i, pair := range [][2]*Agent{{a, b}, {b, a}} {
		both.Go(func() {
			errs[i] = pair[0].Update(ctx, func(*Tx) error {
				inside <- struct{}{}
				for len(inside) < 2 {
					runtime.Gosched()
				}
				return pair[1].Put(ctx, "k", 1)
			})
		})
	}
	both.Wait()
	if !errors.Is(errors.Join(errs...), ErrInUpdate) {
		t.Errorf("got %v", errs)
	}
}

func TestATxEndsWithItsFunction(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	var kept *Tx
	if err := a.Update(t.Context(), func(tx *Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func(){
		"Put": func() { kept.Put("k", 1) }, "Get": func() { kept.Get("k") }, "Increment": func() { kept.Increment("k", 1) }, "Check": func() { kept.Check("k", 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after the end", name)
				}
			}()
			use()
		}()
	}
}

// Of many updates that move the same elements and add to one counter, each element is moved once,
// and each sum is answered once.
func TestUpdatesExcludeEachOther(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	const elements, workers = 50, 8
	for i := range elements {
		if err := a.Set("from").Add(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	sums := map[int64]int{}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range elements {
				_ = a.Put(ctx, fmt.Sprint("beside/", i), i) // ordinary writes go on meanwhile
				a.Entry("to")
				err := a.Update(ctx, func(tx *Tx) error {
					if !tx.Has("from", i) {
						return nil
					}
					tx.Remove("from", i)
					tx.Add("to", i)
					n := tx.Increment("moved", 1)
					mu.Lock()
					sums[n]++
					mu.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, _ := a.Counter("moved").Value(); n != elements || len(sums) != elements {
		t.Errorf("%d elements were moved %d times, with %d sums", elements, n, len(sums))
	}
	if to, _ := a.Set("to").Values(); len(to) != elements {
		t.Errorf("%d have arrived", len(to))
	}
	if _, ok := a.Get("from"); ok {
		t.Error("some were left behind")
	}
}
