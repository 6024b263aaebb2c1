package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// end makes the write of f.
func end(a *Agent, f func(tx *Tx)) error {
	return a.Update(context.Background(), func(tx *Tx) error {
		f(tx)
		return nil
	})
}

// A deadline ends what a key of any type holds, leaves values and versions as they are, and does not
// touch what is written after it.
func TestAKeyEndsAtItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a, ctx := several(t, n, 1, nil)[0], t.Context()
		if err := errors.Join(a.Put(ctx, "register", 1, WithTTL(time.Minute)), a.Set("set").Add(ctx, "a"), a.Counter("counter").Add(ctx, 2),
			a.Max("max").Bump(ctx, 3), a.Object("object").Patch(ctx, map[string]any{"f": 1})); err != nil {
			t.Fatal(err)
		}
		keys := []string{"register", "set", "counter", "max", "object"}
		for _, key := range keys {
			was, _ := a.Version(key)
			if err := end(a, func(tx *Tx) { tx.Expire(key, time.Hour) }); err != nil {
				t.Fatal(err)
			}
			if is, _ := a.Version(key); is != was {
				t.Errorf("a deadline changes the version of %s", key)
			}
		}
		time.Sleep(30 * time.Minute)
		for _, key := range keys {
			e, ok := a.Entry(key)
			if left := time.Until(time.UnixMilli(int64(e.Expiry()))); !ok || left <= 29*time.Minute || left > 30*time.Minute {
				t.Errorf("%s ends in %v", key, left)
			}
		}
		if err := errors.Join(a.Set("set").Add(ctx, "later"), end(a, func(tx *Tx) { tx.Persist("max") })); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		left, err := a.Keys("**")
		if set, _ := a.Get("set"); err != nil || strings.Join(left, " ") != "max set" || set.String() != `["later"]` {
			t.Errorf("%v are left, and the set is %v, %v", left, set, err)
		}
	})
}

func TestAnUpdateSetsDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a, ctx := several(t, n, 1, nil)[0], t.Context()
		err := a.Update(ctx, func(tx *Tx) error {
			tx.Put("k", 1)
			tx.Expire("k", time.Minute)
			tx.Add("s", 1, 2)
			tx.Expire("s", time.Minute)
			tx.Persist("s")
			tx.Expire("absent", time.Minute)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if left, _ := a.Keys("**"); strings.Join(left, " ") != "s" {
			t.Errorf("%v are left", left)
		}
		var conflict *crdt.ConflictError
		if err := end(a, func(tx *Tx) { tx.Expire("s", time.Minute, IfVersion(1)) }); !errors.As(err, &conflict) {
			t.Errorf("a deadline on condition: %v", err)
		}
		for _, ttl := range []time.Duration{0, -time.Second} {
			if err := end(a, func(tx *Tx) { tx.Expire("s", ttl) }); err == nil || !strings.Contains(err.Error(), "1ms or more") {
				t.Errorf("a deadline after %v: %v", ttl, err)
			}
		}
	})
}

// A deadline undoes neither a concurrent removal nor a concurrent value, and of concurrent ones the
// longest holds.
func TestADeadlineWritesNoValue(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list, ctx := several(t, n, 2, nil), t.Context()
		a, b := list[0], list[1]
		if err := errors.Join(a.Set("s").Add(ctx, 1, 2), a.Put(ctx, "k", "old"), a.Put(ctx, "long", 1), a.Put(ctx, "stays", 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		n.Split([]string{address(0)}, []string{address(1)})
		if err := errors.Join(b.Set("s").Remove(ctx, 1), b.Put(ctx, "k", "new"), end(b, func(tx *Tx) { tx.Expire("long", 2*time.Hour) }), end(b, func(tx *Tx) { tx.Persist("stays") })); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		for _, key := range []string{"s", "k", "long", "stays"} {
			if err := end(a, func(tx *Tx) { tx.Expire(key, time.Hour) }); err != nil {
				t.Fatal(err)
			}
		}
		n.Heal()
		time.Sleep(time.Minute)
		agreed(t, list)
		for _, p := range list {
			s, _ := p.Get("s")
			k, _ := p.Get("k")
			if s.String() != `[2]` || k.String() != `"new"` {
				t.Errorf("%s holds %v and %v", p.Name(), s, k)
			}
		}
		time.Sleep(time.Hour)
		agreed(t, list)
		for _, p := range list {
			if left, _ := p.Keys("**"); strings.Join(left, " ") != "long stays" {
				t.Errorf("%s is left with %v", p.Name(), left)
			}
		}
	})
}

// A deadline changes no version, and what it ends is told as expired.
func TestADeadlineIsSetWithoutTheValue(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	if err := a.Put(t.Context(), "k", "v", WithTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	before, _ := a.Entry("k")
	if err := end(a, func(tx *Tx) { tx.Persist("k") }); err != nil {
		t.Fatal(err)
	}
	if e, ok := a.Entry("k"); !ok || e.Expiry() != 0 || e.Version() != before.Version() {
		t.Errorf("persisted: until %d, version %v, was %v", e.Expiry(), e.Version(), before.Version())
	}
	sub, err := a.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := end(a, func(tx *Tx) { tx.Expire("k", 50*time.Millisecond) }); err != nil {
		t.Fatal(err)
	}
	e := next(t, sub)
	if e.Cause == CausePut { // of the put above, if it was still under way to subscribers
		e = next(t, sub)
	}
	if e.Cause != CauseExpired || !e.New.IsZero() {
		t.Errorf("got %+v", e)
	}
	if err := end(a, func(tx *Tx) { tx.Expire("k", 0) }); err == nil {
		t.Error("a TTL of 0 is taken")
	}
}

// Peers that write all the time, so that their digests never agree, forget what has ended all the same.
func TestWhatEndsIsForgottenBesideSteadyWrites(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		for i := range 1000 {
			for _, a := range list {
				if err := a.Put(t.Context(), fmt.Sprintf("%s/%d", a.Name(), i), i, WithTTL(time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		for _, a := range list {
			if s := a.Stats().Store; s.Live > 6*s.Keys {
				t.Errorf("%s holds %d records, and shows %d keys", a.Name(), s.Live, s.Keys)
			}
		}
	})
}
