package crdt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// anyOp draws an operation on few keys, with values of all sizes.
func anyOp(rng *rand.Rand) Op {
	sizes := []int{0, 1, 10, 200, 3000}
	scalar := func() any { return noise(sizes[rng.IntN(len(sizes))]) }
	name := func() string { return string(rune('a' + rng.IntN(4))) }
	var tree func(depth int) any
	tree = func(depth int) any {
		switch n := rng.IntN(8); {
		case n == 0:
			return nil
		case n == 1:
			return []any{rng.IntN(3), scalar()}
		case n < 4 && depth > 0:
			m := map[string]any{}
			for range rng.IntN(4) {
				m[name()] = tree(depth - 1)
			}
			return m
		}
		return scalar()
	}
	value := func(x any) Value {
		v, err := ValueOf(x)
		if err != nil {
			panic(err)
		}
		return v
	}
	fields := func() Value {
		m := map[string]any{}
		for range 1 + rng.IntN(4) {
			m[name()] = tree(2)
		}
		return value(m)
	}
	op := Op{Key: fmt.Sprint("key-", rng.IntN(3)), Verb: []Verb{Put, Put, Put, Delete, Add, Remove, Increment, Bump, Patch, Patch}[rng.IntN(10)]}
	if rng.IntN(4) == 0 {
		for range 1 + rng.IntN(2) {
			op.Path = append(op.Path, name())
		}
	}
	if rng.IntN(8) == 0 {
		op.Expiry = 1 << 40
	}
	switch op.Verb {
	case Put:
		op.Kind = []Kind{0, Register, Set, Object, Max, Custom}[rng.IntN(6)]
		switch {
		case op.Kind == Set:
			op.Value = value([]any{rng.IntN(3), scalar()})
		case op.Kind == Object:
			op.Value = fields()
		case op.Kind == Max:
			op.Value = value(rng.IntN(1000))
		default:
			op.Value = value(scalar())
		}
	case Add, Remove:
		op.Values = []Value{value(rng.IntN(3)), value(scalar())}
	case Increment:
		op.Delta = int64(rng.IntN(3) - 1)
	case Bump:
		op.Value = value(rng.IntN(1000))
	case Patch:
		op.Value = fields()
	}
	return op
}

// exchange gives to what it has not seen of from.
func exchange(t *testing.T, from, to *Store) {
	t.Helper()
	for _, a := range from.Context().Actors() {
		var ds []Delta
		from.Live(a, 1, clock.MaxSeq, func(d Delta) bool {
			ds = append(ds, d)
			return true
		})
		if len(ds) == 0 {
			continue
		}
		var table ActorTable
		b := from.AppendSection(nil, &table, a, 1, from.Context().Span(a).Head(), ds)
		r := wire.NewReader(b)
		if _, err := to.JoinSection(&r, table.Actors(), clock.Timestamp(1<<63)); err != nil {
			t.Fatal(err)
		}
	}
	to.Adopt(from.Context())
}

// What an operation adds is never much more than what was estimated, so that a store
// stays near its limit; nor much less, so that what frees memory is not refused.
func TestGrowthIsEstimated(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		stores := []*Store{New(Config{Actor: here}), New(Config{Actor: there})}
		for step := range 60 {
			s := stores[rng.IntN(2)]
			if rng.IntN(5) == 0 {
				exchange(t, stores[0], stores[1])
				exchange(t, stores[1], stores[0])
			}
			op := anyOp(rng)
			u := unit{s: s, ops: []Op{op}}
			kind, err := u.admit(0)
			if err != nil {
				continue
			}
			g := growth{s: s}
			if c, ok := s.index.Load(op.Key); ok {
				g.cell, g.many = c, c.many()
			}
			kinds := make(map[Kind]bool)
			if g.many != nil {
				for _, slot := range g.many.slots {
					kinds[kindOf(slot[0].kind, slot[0].path())] = true
				}
			}
			estimate, before := g.of(&op, kind), s.Memory()
			if most := atMost([]Op{op}); estimate > most {
				t.Fatalf("seed %d, step %d: %v of %q %q %v, %d B: estimated %d, which is above the bound %d", seed, step, op.Verb, op.Key, op.Path, op.Kind, len(op.Value.raw), estimate, most)
			}
			deltas, err := s.Apply(clock.Timestamp(step+1), 0, op)
			if err != nil {
				t.Fatalf("%+v: %v", op, err)
			}
			added := s.Memory() - before
			slack := 0 // pasts, removals of what the path leads through, views
			for range deltas {
				slack += extMemory + 6*pastMemory
			}
			if added > max(estimate, 0)+slack+manyMemory {
				t.Fatalf("seed %d, step %d: %v of %q %q %v, %d B: added %d, estimated %d", seed, step, op.Verb, op.Key, op.Path, op.Kind, len(op.Value.raw), added, estimate)
			}
			if op.Verb == Delete && estimate > 0 {
				t.Fatalf("seed %d: a delete is estimated to add %d", seed, estimate)
			}
			if estimate > max(added, 0)+4*manyMemory && len(op.Path) == 0 && op.Verb == Put && len(kinds) < 2 {
				t.Fatalf("seed %d, step %d: %v of %q %q %v, %d B: added %d, estimated %d", seed, step, op.Verb, op.Key, op.Path, op.Kind, len(op.Value.raw), added, estimate)
			}
			checkBooks(t, s)
		}
	}
}

// full returns a store of which nothing is free, with keys k0, k1, ….
func full(t *testing.T, limit int) (s *Store, keys int) {
	t.Helper()
	s = New(Config{Actor: here, MaxBytes: limit})
	for keys < limit/1000 {
		_, err := s.Apply(clock.Timestamp(keys+1), 0, Op{Verb: Put, Key: fmt.Sprint("k", keys), Value: text(1000)})
		var refused *FullError
		if errors.As(err, &refused) {
			if refused.Needs < 1000 || refused.Limit != limit || refused.Used != s.Memory() {
				t.Errorf("%v", refused)
			}
			return s, keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys++
	}
	t.Fatalf("%d bytes took %d keys of 1,000 bytes, and none was refused", limit, keys)
	return nil, 0
}

func TestAFloodEndsInRefusalsAndWhatShrinksPasses(t *testing.T) {
	const limit = 1 << 20
	s, keys := full(t, limit)
	if s.Memory() > limit || s.Memory() < limit-2000 || s.Stats().Refused != 1 || s.Stats().Limit != limit {
		t.Errorf("%d of %d in use after %d keys: %+v", s.Memory(), limit, keys, s.Stats())
	}
	stamp := clock.Timestamp(1 << 20)
	try := func(ops ...Op) error {
		stamp++
		_, err := s.Apply(stamp, 0, ops...)
		return err
	}
	var refused *FullError
	for name, c := range map[string]struct {
		ops    []Op
		passes bool
	}{
		"as much again":           {[]Op{{Verb: Put, Key: "k0", Value: text(1000)}}, true},
		"less":                    {[]Op{{Verb: Put, Key: "k1", Value: text(900)}}, true},
		"more":                    {[]Op{{Verb: Put, Key: "k2", Value: text(4000)}}, false},
		"another key":             {[]Op{{Verb: Put, Key: "more", Value: text(2000)}}, false},
		"an object":               {[]Op{{Verb: Patch, Key: "more", Value: object("field", noise(2000))}}, false},
		"a set":                   {[]Op{{Verb: Add, Key: "more", Values: []Value{text(2000)}}}, false},
		"a counter":               {[]Op{{Verb: Increment, Key: "more", Delta: 1}}, false},
		"one that takes turns":    {[]Op{{Verb: Delete, Key: "k3"}, {Verb: Put, Key: "new", Value: text(500)}}, true},
		"what frees twice":        {[]Op{{Verb: Put, Key: "k4", Value: text(1)}, {Verb: Put, Key: "k4", Value: text(1)}, {Verb: Put, Key: "new2", Value: text(1800)}}, false},
		"a delete":                {[]Op{{Verb: Delete, Key: "k5"}}, true},
		"a delete of what is not": {[]Op{{Verb: Delete, Key: "nothing"}}, true},
		"a record of work":        {[]Op{{Verb: Put, Key: "claim", Value: text(1200), Vital: true}}, true},
		"and its long result":     {[]Op{{Verb: Put, Key: "claim", Value: text(100_000), Vital: true}}, false},
	} {
		s, _ = full(t, limit)
		for s.Memory() < limit-400 {
			if err := try(Op{Verb: Put, Key: fmt.Sprint("fill", stamp), Value: text(1)}); err != nil {
				break
			}
		}
		if err := try(c.ops...); (err == nil) != c.passes || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		checkBooks(t, s)
	}
}

// A full store takes what others wrote all the same: replicas agree whatever their
// limits are.
func TestAFullStoreMerges(t *testing.T) {
	s, _ := full(t, 1<<20)
	other := New(Config{Actor: there})
	for i := range 1000 {
		if _, err := other.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: fmt.Sprint("other", i), Value: text(1000)}); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, other, s)
	exchange(t, s, other)
	if string(s.AppendState(nil)) != string(other.AppendState(nil)) || s.Memory() < 2<<19 {
		t.Error("they differ")
	}
	if _, err := s.Apply(1<<40, 0, Op{Verb: Put, Key: "other1", Value: text(1000)}); err != nil {
		t.Errorf("beyond its limit, what is replaced by as much: %v", err)
	}
}

// Removals that no peer has acknowledged, and what lost, do not fill a small store.
func TestRemovalsAndConflictsTakeAShareOfTheLimit(t *testing.T) {
	const limit = 1 << 20
	s := New(Config{Actor: here, MaxBytes: limit})
	for i := range 20_000 {
		for _, op := range []Op{{Verb: Put, Key: fmt.Sprint("k", i), Value: text(1)}, {Verb: Delete, Key: fmt.Sprint("k", i)}} {
			if _, err := s.Apply(clock.Timestamp(2*i+1), 0, op); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
		}
	}
	if s.removed > limit/4 || s.removed < limit/8 || s.Stats().Truncated == 0 {
		t.Errorf("removals take %d of %d: %+v", s.removed, limit, s.Stats())
	}
	for i := range 20 {
		other := New(Config{Actor: clock.Actor{Birth: 2, Rand: uint64(i)}})
		if _, err := other.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: "contested", Value: text(30_000)}); err != nil {
			t.Fatal(err)
		}
		exchange(t, other, s)
	}
	if s.conflictBytes > limit/16 || s.Stats().Conflicts != 19 {
		t.Errorf("what lost takes %d of %d: %+v", s.conflictBytes, limit, s.Stats())
	}
	checkBooks(t, s)
}
