package crdt

import (
	"math/rand/v2"
	"testing"
)

// Null is a value of a register and an element of a set. Inside an object it stands for an
// absent field.
func TestWhatNullMeans(t *testing.T) {
	null := mustOf(nil)
	f := func(want string, ops ...Op) {
		t.Helper()
		a, b := newReplica(1), newReplica(2)
		for _, op := range ops {
			op.Key = "k"
			must(t, a.apply(t, op))
		}
		syncAll(t, a, b)
		reads(t, a, "k", want)
		reads(t, b, "k", want)
	}
	patch := func(kv ...any) Op { return Op{Verb: Patch, Value: object(kv...)} }
	replace := func(kv ...any) Op { return Op{Verb: Put, Kind: Object, Value: object(kv...)} }
	at := func(v Value, path ...string) Op { return Op{Verb: Put, Path: path, Value: v} }
	without := func(path ...string) Op { return Op{Verb: Delete, Path: path} }
	deep := map[string]any{"x": map[string]any{"y": nil}}

	f("null", Op{Verb: Put, Value: null})
	f("null", Op{Verb: Put, Kind: Custom, Value: null}, Op{Verb: Delete, Path: []string{"a"}})
	f("[null]", Op{Verb: Add, Values: []Value{null}})
	f("[1,null]", Op{Verb: Put, Value: mustOf([]any{1, nil})})
	f(`[{"a":null}]`, Op{Verb: Add, Values: []Value{object("a", nil)}})

	f("{}", replace("a", nil))
	f("{}", patch("a", nil))
	f("{}", replace())
	f("{}", patch())
	f("{}", patch("a", 1), patch("a", nil))
	f("{}", patch("a", 1, "b", 2), patch("a", nil, "b", nil))
	f("{}", patch("a", 1), at(null, "a"))
	f("{}", patch("a", 1), without("a"))
	f("{}", patch("a", 1), replace("b", nil))
	f(`{"b":2}`, patch("a", 1), patch("a", nil, "b", 2))
	f(`{"x":{}}`, Op{Verb: Put, Kind: Object, Value: mustOf(map[string]any{"x": map[string]any{"y": nil}})})
	f(`{"a":{"x":{}}}`, patch("a", deep))
	f(`{"a":{}}`, patch("a", map[string]any{"b": 1}), patch("a", map[string]any{"b": nil}))
	f(`{"a":{}}`, patch("a", map[string]any{"b": 1}), without("a", "b"))
	f(`{"a":{}}`, at(null, "a", "b"))
	f(`{"a":{"x":{}}}`, at(mustOf(deep), "a"))
	f("{}", patch("a", []any{1}), patch("a", nil))
	f(`{"a":[]}`, patch("a", []any{1}), Op{Verb: Remove, Path: []string{"a"}, Values: []Value{num(1)}})
	f(`{"a":[]}`, patch("a", []any{1}), at(mustOf([]any{}), "a"))
	f("absent", without("a"))
	f("absent", patch("a", 1), Op{Verb: Delete})
	f(`{"a":1}`, patch("a", 1), Op{Verb: Increment, Path: []string{"a"}})
}

// An object that no peer deleted exists, whatever fields are removed concurrently.
func TestNobodyEmptiesAnObjectAway(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 12))
		rs := []*replica{newReplica(1), newReplica(2), newReplica(3)}
		draw := func() Op {
			field := string(rune('a' + rng.IntN(2)))
			switch rng.IntN(7) {
			case 0:
				return Op{Verb: Patch, Value: object(field, nil)}
			case 1:
				return Op{Verb: Patch, Value: object(field, rng.IntN(2))}
			case 2:
				return Op{Verb: Delete, Path: []string{field}}
			case 3:
				return Op{Verb: Put, Path: []string{"a"}, Value: mustOf([]any{nil, 1, map[string]any{"b": 1}}[rng.IntN(3)])}
			case 4:
				return Op{Verb: Delete, Path: []string{"a", "b"}}
			case 5:
				return Op{Verb: Add, Path: []string{field}, Values: []Value{num(rng.IntN(2))}}
			}
			return Op{Verb: Remove, Path: []string{field}, Values: []Value{num(rng.IntN(2))}}
		}
		must(t, rs[0].apply(t, Op{Verb: Patch, Key: "k", Value: object("a", 1)}))
		syncAll(t, rs...)
		for range 20 {
			r := rs[rng.IntN(3)]
			if from := rs[rng.IntN(3)]; from != r && len(from.log) > 0 {
				r.receive(t, from.log[rng.IntN(len(from.log))])
				continue
			}
			op := draw()
			op.Key = "k"
			_, had := r.Render("k", 1000) // a part of a batch may have arrived
			must(t, r.apply(t, op))
			if _, ok := r.Render("k", 1000); had && !ok {
				t.Fatalf("seed %d: %v ends the object for its writer", seed, op)
			}
		}
		syncAll(t, rs...)
		if e, ok := rs[0].Render("k", 1000); !ok || e.Kind() != Object {
			t.Fatalf("seed %d: the object is gone", seed)
		}
	}
}
