package crdt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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
	op := Op{Key: fmt.Sprint("key-", rng.IntN(3)), Verb: []Verb{Put, Put, Put, Delete, Add, Remove, Increment, Bump, Patch, Patch, Expire}[rng.IntN(11)]}
	if op.Verb != Expire && rng.IntN(4) == 0 {
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

// mergeAll merges into to every live record of from, and from's context.
func mergeAll(t *testing.T, from, to *Store) {
	t.Helper()
	for _, a := range from.Context().Listed() {
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

// otherMemory returns the memory of the live records of deltas that is not content, which
// is that of removals and pasts.
func otherMemory(deltas []Delta) (n int) {
	for _, d := range deltas {
		r := d.r
		switch {
		case r.pos < 0:
		case r.isRemoval():
			n += r.memory()
		default:
			n += len(r.past()) * pastMemory
			if r.kind == slotRegister && r.path() == "" && r.ext != nil && r.expiry() == 0 && len(r.val()) <= maxInline {
				n += extMemory
			}
		}
	}
	return n
}

// The predicted growth of a batch is the memory that the batch then adds, without removals
// and pasts. It is never more than that, so a write that adds nothing is never refused.
func TestGrowthIsKnownBefore(t *testing.T) {
	batches, equal := 0, 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 5))
		stores := []*Store{New(Config{Actor: here}), New(Config{Actor: there})}
		for step := range 60 {
			s := stores[rng.IntN(2)]
			if rng.IntN(5) == 0 {
				mergeAll(t, stores[0], stores[1])
				mergeAll(t, stores[1], stores[0])
			}
			if rng.IntN(10) == 0 {
				s.Collect(s.Context().Vector(), 0, 0)
			}
			ops := []Op{anyOp(rng)}
			for len(ops) < 3 && rng.IntN(2) == 0 {
				ops = append(ops, anyOp(rng))
			}
			adds, most, ok := predictedGrowth(s, ops)
			if !ok {
				continue
			}
			if adds > most {
				t.Fatalf("seed %d, step %d: %s: the predicted growth %d is above the bound %d", seed, step, spelt(ops), adds, most)
			}
			before := s.Memory()
			deltas, err := s.Apply(clock.Timestamp(step+1), 0, ops...)
			if err != nil {
				t.Fatal(err)
			}
			added := s.Memory() - before
			if added < adds || len(ops) == 1 && added > adds+otherMemory(deltas) {
				t.Fatalf("seed %d, step %d: %s: the predicted growth is %d, the memory grew by %d, of which %d is not content", seed, step, spelt(ops), adds, added, otherMemory(deltas))
			}
			if batches++; added == adds+otherMemory(deltas) {
				equal++
			}
			checkCounts(t, s)
		}
	}
	if equal < batches*99/100 {
		t.Errorf("of %d batches the growth of %d was known exactly", batches, equal)
	}
}

// predictedGrowth returns the growth of ops as a draft computes it, and the upper bound. ok
// is false if an operation is refused.
func predictedGrowth(s *Store, ops []Op) (adds, most int, ok bool) {
	b := Begin(s, clock.Timestamp(1<<62), 0)
	drafts := make(map[string]*draft)
	for i := range ops {
		if err := b.Do(ops[i]); err != nil {
			return 0, 0, false
		}
		d := drafts[ops[i].Key]
		if d == nil {
			d = newDraft(s, ops[i].Key, 0)
			drafts[ops[i].Key] = d
		}
		before := d.growth
		d.run(&ops[i], b.kinds[i])
		adds += d.growth - before
	}
	return adds, b.maxGrowth, true
}

func spelt(ops []Op) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "%v of %q %q %v %.80v %.80v; ", op.Verb, op.Key, op.Path, op.Kind, op.Value, op.Values)
	}
	return b.String()
}

// The time of a write into a full store depends on the part of the key that it touches, and
// not on the rest of the key: it is the same for each number of fields.
func BenchmarkAWriteIntoAFullStore(b *testing.B) {
	for _, fields := range []int{10, 100, 1000, 10_000, 100_000} {
		s := New(Config{Actor: here})
		for i := range fields {
			if _, err := s.Apply(clock.Timestamp(i+1), 0, Op{Verb: Patch, Key: "object", Value: object(fmt.Sprint("field-", i), 1000)}); err != nil {
				b.Fatal(err)
			}
			s.Recycle(s.Changes())
		}
		s.maxBytes = s.Memory()
		for name, op := range map[string]Op{
			"passes":  {Verb: Patch, Key: "object", Value: object("field-7", 1001)},
			"refused": {Verb: Patch, Key: "object", Value: object("new", 1)},
		} {
			b.Run(fmt.Sprintf("fields=%d/%s", fields, name), func(b *testing.B) {
				for i := range b.N {
					_, err := s.Apply(clock.Timestamp(fields+i+1), 0, op)
					if (err == nil) != (name == "passes") {
						b.Fatal(err)
					}
					s.Recycle(s.Changes())
				}
			})
		}
	}
}

// full returns a store with keys k0, k1, … that has no free memory.
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
	thing, tags := object("field", noise(200), "other", 1), object("x", []any{"a", noise(200)}).Field("x")
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
		"a count, again":          {[]Op{{Verb: Increment, Key: "count", Delta: 1 << 40}}, true},
		"several counts":          {[]Op{{Verb: Increment, Key: "count", Delta: 1}, {Verb: Increment, Key: "count", Delta: -1}}, true},
		"the same object":         {[]Op{{Verb: Put, Kind: Object, Key: "object", Value: thing}}, true},
		"the same object, twice":  {[]Op{{Verb: Put, Kind: Object, Key: "object", Value: thing}, {Verb: Put, Kind: Object, Key: "object", Value: thing}}, true},
		"its fields":              {[]Op{{Verb: Patch, Key: "object", Value: thing}}, true},
		"what was deleted":        {[]Op{{Verb: Delete, Key: "object"}, {Verb: Put, Kind: Object, Key: "object", Value: thing}}, true},
		"the same set":            {[]Op{{Verb: Put, Kind: Set, Key: "set", Value: tags}}, true},
		"its elements":            {[]Op{{Verb: Add, Key: "set", Values: tags.Elements()}}, true},
		"one more field":          {[]Op{{Verb: Patch, Key: "object", Value: object("more", noise(500))}}, false},
		"a delete":                {[]Op{{Verb: Delete, Key: "k5"}}, true},
		"a delete of what is not": {[]Op{{Verb: Delete, Key: "nothing"}}, true},
		"a record of work":        {[]Op{{Verb: Put, Key: "claim", Value: text(1200), Vital: true}}, true},
		"and its long result":     {[]Op{{Verb: Put, Key: "claim", Value: text(100_000), Vital: true}}, false},
	} {
		s, _ = full(t, limit)
		s.maxBytes = 2 * limit
		for _, op := range []Op{{Verb: Increment, Key: "count", Delta: 1}, {Verb: Put, Kind: Object, Key: "object", Value: thing}, {Verb: Put, Kind: Set, Key: "set", Value: tags}} {
			if err := try(op); err != nil {
				t.Fatal(err)
			}
		}
		s.maxBytes = s.Memory() // no free memory
		if err := try(c.ops...); (err == nil) != c.passes || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		checkCounts(t, s)
	}
}

// A full store still merges the writes of others: replicas agree whatever their limits are.
func TestAFullStoreMerges(t *testing.T) {
	s, _ := full(t, 1<<20)
	other := New(Config{Actor: there})
	for i := range 1000 {
		if _, err := other.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: fmt.Sprint("other", i), Value: text(1000)}); err != nil {
			t.Fatal(err)
		}
	}
	mergeAll(t, other, s)
	mergeAll(t, s, other)
	if string(s.AppendState(nil)) != string(other.AppendState(nil)) || s.Memory() < 2<<19 {
		t.Error("they differ")
	}
	if _, err := s.Apply(1<<40, 0, Op{Verb: Put, Key: "other1", Value: text(1000)}); err != nil {
		t.Errorf("beyond its limit, what is replaced by as much: %v", err)
	}
}

// Neither removals that no peer has acknowledged nor the conflict journal fill a small store.
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
	if s.removalBytes > limit/4 || s.removalBytes < limit/8 || s.Stats().Truncated == 0 {
		t.Errorf("removals take %d of %d: %+v", s.removalBytes, limit, s.Stats())
	}
	for i := range 20 {
		other := New(Config{Actor: clock.Actor{Birth: 2, Rand: uint64(i)}})
		if _, err := other.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: "contested", Value: text(30_000)}); err != nil {
			t.Fatal(err)
		}
		mergeAll(t, other, s)
	}
	if s.conflictBytes > limit/16 || s.Stats().Conflicts != 19 {
		t.Errorf("what lost takes %d of %d: %+v", s.conflictBytes, limit, s.Stats())
	}
	checkCounts(t, s)
}
