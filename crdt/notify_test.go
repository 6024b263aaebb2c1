package crdt

import (
	"slices"
	"testing"
)

// notifications returns the changes that subscribers of r get.
func notifications(r *replica, now uint64) []Change {
	return Notifications(r.Changes(), func(key string) (Value, Kind, bool) {
		e, ok := r.Render(key, now)
		if !ok {
			return Value{}, 0, false
		}
		return e.Value(), e.Kind(), true
	})
}

func hears(t *testing.T, list []Change, want ...string) {
	t.Helper()
	var got []string
	for _, c := range list {
		got = append(got, c.Cause.String()+" "+c.Kind.String()+" "+c.Old.String()+" > "+c.New.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("heard\n%q, want\n%q", got, want)
	}
}

// A write that merges together with a concurrent loser is reported as a write.
func TestWhatSurvivesIsToldByItsOwnCause(t *testing.T) {
	patch := func(kv ...any) Op { return Op{Verb: Patch, Key: "k", Value: object(kv...)} }
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, patch("c", 0)))
	syncAll(t, a, b)
	reads(t, b, "k", `{"c":0}`)
	must(t, a.applyAt(t, 1001, patch("b", 1)))
	must(t, a.applyAt(t, 1002, patch("a", 1)))
	must(t, b.applyAt(t, 1003, patch("a", 2)))
	reads(t, b, "k", `{"a":2,"c":0}`)
	b.Changes()
	for _, p := range a.log[1:] {
		b.receive(t, p)
	}
	hears(t, notifications(b, 2000), `put object {"a":2,"c":0} > {"a":2,"b":1,"c":0}`, `conflict object {"a":2,"b":1,"c":0} > {"a":2,"b":1,"c":0}`)

	c := newReplica(3)
	c.receive(t, b.log[0])
	reads(t, c, "k", `{"a":2}`)
	c.Changes()
	for _, p := range slices.Backward(a.log) { // the loser comes first
		c.receive(t, p)
	}
	hears(t, notifications(c, 2000), `put object {"a":2} > {"a":2,"b":1,"c":0}`, `conflict object {"a":2,"b":1,"c":0} > {"a":2,"b":1,"c":0}`)
	a.receive(t, b.log[0])
	must(t, a.apply(t, Op{Verb: Delete, Key: "k"}))
	c.receive(t, a.log[len(a.log)-1])
	hears(t, notifications(c, 2000), `delete object {"a":2,"b":1,"c":0} > null`)
}

// If a part of a key is written and another part expires, the write is reported first and
// then the expiry.
func TestAnExpiryIsToldBesideAWrite(t *testing.T) {
	r := newReplica(1)
	must(t, r.apply(t, Op{Verb: Patch, Key: "k", Value: object("a", 1), Expiry: 1500}, Op{Verb: Patch, Key: "k", Value: object("c", 1)}))
	reads(t, r, "k", `{"a":1,"c":1}`)
	r.Changes()
	must(t, r.apply(t, Op{Verb: Patch, Key: "k", Value: object("b", 2), Expiry: 1600}))
	r.Expire(1550)
	hears(t, notifications(r, 1550), `put object {"a":1,"c":1} > {"b":2,"c":1}`, `expired object {"b":2,"c":1} > {"b":2,"c":1}`)
	must(t, r.applyAt(t, 1560, Op{Verb: Patch, Key: "k", Value: object("c", 2), Expiry: 1600}))
	r.Expire(1700)
	list := notifications(r, 1700)
	hears(t, list, `expired object {"b":2,"c":1} > null`)
}

// A change has the kind that its key has, or had before a delete.
func TestEveryChangeHasAType(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	for _, ops := range [][]Op{
		{{Verb: Patch, Value: object("a", 1, "b", 2)}, {Verb: Delete}},
		{{Verb: Put, Kind: Object, Value: object("a", nil)}, {Verb: Delete}},
		{{Verb: Patch, Value: object("a", 1)}, {Verb: Patch, Value: object("a", nil)}},
		{{Verb: Delete}, {Verb: Add, Values: []Value{num(1), num(2)}}, {Verb: Delete}},
		{{Verb: Put, Kind: Custom, Value: num(1)}, {Verb: Delete}},
	} {
		for _, op := range ops {
			op.Key = "k"
			must(t, a.apply(t, op))
		}
		for _, p := range a.log {
			b.receive(t, p)
		}
		for _, r := range []*replica{a, b} {
			for _, c := range r.Changes() {
				if c.Kind < Register || c.Kind > Custom {
					t.Errorf("after %v a change is of %v", ops, c.Kind)
				}
			}
		}
	}
}
