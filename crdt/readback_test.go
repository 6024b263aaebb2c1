package crdt

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A writer reads what it has just written until that expires, whatever had expired, arrived
// or been removed before.
func TestAWriterReadsWhatItWrote(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		rs := []*replica{newReplica(1), newReplica(2)}
		now := uint64(1000)
		for range 40 {
			r := rs[rng.IntN(2)]
			if rng.IntN(3) == 0 {
				now += uint64(rng.IntN(50))
				rs[0].Expire(now)
				rs[1].Expire(now)
			}
			if other := rs[rng.IntN(2)]; other != r && len(other.log) > 0 {
				r.receive(t, other.log[rng.IntN(len(other.log))])
				continue
			}
			op := randomOp(rng)
			if rng.IntN(3) == 0 {
				op.Expiry = now + uint64(rng.IntN(60)) + 1
			}
			if r.applyAt(t, now, op) != nil {
				continue // the operation may be refused for the kind of its key
			}
			want := wrote(op)
			if want == nil {
				continue
			}
			e, ok := r.Render(op.Key, now)
			switch {
			case want(e, ok):
			case !ok:
				t.Fatalf("seed %d, at %d: after %v the key is absent", seed, now, op)
			default:
				t.Fatalf("seed %d, at %d: after %v the key holds %v until %d", seed, now, op, e.Value(), e.Expiry())
			}
		}
	}
}

// wrote returns a check of the key after op, nil if the result depends on the key's content
// before op.
func wrote(op Op) func(Entry, bool) bool {
	whole := len(op.Path) == 0
	switch {
	case op.Verb == Delete && whole:
		return func(_ Entry, ok bool) bool { return !ok }
	case op.Verb == Put && !whole:
		return func(e Entry, ok bool) bool { return ok && e.Value().Field(op.Path[0]) == op.Value }
	case op.Verb == Put && op.Kind == Set:
		want := slices.Compact(slices.SortedFunc(slices.Values(op.Value.Elements()), Value.Compare))
		return func(e Entry, ok bool) bool {
			return ok && slices.Equal(e.Value().Elements(), want) && e.Expiry() == op.Expiry
		}
	case op.Verb == Put && op.Kind != Custom:
		return func(e Entry, ok bool) bool { return ok && e.Value() == op.Value && e.Expiry() == op.Expiry }
	case op.Verb == Bump && whole:
		return func(e Entry, ok bool) bool {
			return ok && !lower(e.Value(), op.Value) && (e.Expiry() == 0 || op.Expiry != 0 && e.Expiry() >= op.Expiry)
		}
	case op.Verb == Add && whole:
		return func(e Entry, ok bool) bool { return ok && slices.Contains(e.Value().Elements(), op.Values[0]) }
	case op.Verb == Patch:
		return func(_ Entry, ok bool) bool { return ok }
	}
	return nil
}

// A delete of an object has the same effect for any number of leaves: it also removes older
// leaves that its writer had not seen.
func TestDeletingAnObjectRemovesOlderLeavesOfOthers(t *testing.T) {
	for _, fields := range []map[string]any{{"a": 1}, {"a": 1, "c": 1}} {
		a, b := newReplica(1), newReplica(2)
		patch := func(r *replica, fields map[string]any) {
			t.Helper()
			v, err := ValueOf(fields)
			if err == nil {
				err = r.apply(t, Op{Verb: Patch, Key: "k", Value: v})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		patch(b, map[string]any{"b": 2}) // no other replica has seen the patch yet
		patch(a, fields)
		a.hlc.Now(time.UnixMilli(1 << 40)) // later
		if err := a.apply(t, Op{Verb: Delete, Key: "k"}); err != nil {
			t.Fatal(err)
		}
		for _, p := range a.log {
			b.receive(t, p)
		}
		a.receive(t, b.log[0])
		for _, r := range []*replica{a, b} {
			if e, ok := r.Render("k", 0); ok {
				t.Errorf("of %v and an older b=2, a delete left %v", fields, e.Value())
			}
		}
	}
}
