package crdt

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// batchOp draws an operation that earlier operations may forbid or make possible.
func batchOp(rng *rand.Rand) Op {
	op := randomOp(rng)
	op.Key = "k"
	switch rng.IntN(4) {
	case 0:
		op.Kind = 0
	case 1:
		op = Op{Verb: Increment, Key: "k", Delta: []int64{math.MaxInt64, -math.MaxInt64, math.MaxInt64 - 1, 100, 0, -100}[rng.IntN(6)]}
		if rng.IntN(2) == 0 {
			op.Path = [][]string{{"a"}, {"a", "x"}, {"b"}}[rng.IntN(3)]
		}
	case 2:
		op = Op{Verb: []Verb{Remove, Delete, Put, Put, Patch}[rng.IntN(5)], Key: "k", Values: []Value{num(rng.IntN(3))}, Value: object("a", nil)}
		if op.Verb == Put {
			op.Kind, op.Value = Set, mustOf([]any{})
		}
	}
	return op
}

func mustOf(v any) Value {
	value, err := ValueOf(v)
	if err != nil {
		panic(err)
	}
	return value
}

// A batch is refused exactly if one of its operations would be refused when they are made
// one after the other. An accepted batch has the same result as these.
func TestEachOperationOfAUnitSeesTheEarlierOnes(t *testing.T) {
	refused := 0
	for seed := range uint64(3_000) {
		rng := rand.New(rand.NewPCG(seed, 11))
		before := make([]Op, rng.IntN(3))
		for i := range before {
			before[i] = batchOp(rng)
		}
		ops := make([]Op, 2+rng.IntN(4))
		for i := range ops {
			ops[i] = batchOp(rng)
		}
		at, step := newReplica(1), newReplica(1)
		for _, op := range before {
			_, _ = at.apply(t, op), step.apply(t, op)
		}
		if seed%2 == 0 { // concurrent writes of others leave several kinds
			for id := range uint64(2) {
				other := newReplica(id + 2)
				_ = other.apply(t, batchOp(rng))
				for _, p := range other.log {
					at.receive(t, p)
					step.receive(t, p)
				}
			}
		}
		version := at.Probe("k", 1000).Version()
		err := at.apply(t, ops...)
		var want error
		for _, op := range ops {
			if want = step.apply(t, op); want != nil {
				break
			}
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("seed %d: after %v, %v at once: %v; one by one: %v", seed, before, ops, err, want)
		}
		if err != nil {
			refused++
			if at.Probe("k", 1000).Version() != version {
				t.Fatalf("seed %d: a refused batch left something", seed)
			}
			continue
		}
		x, _ := at.Render("k", 1000)
		y, _ := step.Render("k", 1000)
		if (x.r == nil) != (y.r == nil) || x.r != nil && (x.Kind() != y.Kind() || x.Value() != y.Value()) {
			t.Fatalf("seed %d: after %v, %v make %v at once, %v one by one", seed, before, ops, x.Value(), y.Value())
		}
	}
	if refused < 150 || refused > 2_850 {
		t.Errorf("of 3000 batches %d are refused", refused)
	}
}

// A removal that shows content of another kind, which a concurrent write has left, decides what later
// operations of the batch find.
func TestABatchFindsTheKindThatItsRemovalsShow(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Increment, Key: "k", Delta: 5}))
	must(t, b.applyAt(t, 2000, Op{Verb: Add, Key: "k", Values: []Value{num(1)}}))
	syncAll(t, a, b)
	remove, count := Op{Verb: Remove, Key: "k", Values: []Value{num(1)}}, Op{Verb: Increment, Key: "k", Delta: 1}
	reads(t, a, "k", "[1]")
	if wrong := (*TypeError)(nil); !errors.As(a.applyAt(t, 3000, remove, Op{Verb: Add, Key: "k", Values: []Value{num(2)}}), &wrong) || wrong.Have != Counter {
		t.Errorf("an element is added to a counter: %v", wrong)
	}
	must(t, a.applyAt(t, 3000, remove, count))
	reads(t, a, "k", "6")
}

// A counter is exact within its range, whatever was added and subtracted before.
func TestACounterIsExactWithinItsRange(t *testing.T) {
	a, b, c := newReplica(1), newReplica(2), newReplica(3)
	add := func(r *replica, n int64, good bool) {
		t.Helper()
		err := r.apply(t, Op{Verb: Increment, Key: "n", Delta: n})
		if bad := (*wire.ValueError)(nil); (err == nil) != good || err != nil && !errors.As(err, &bad) {
			t.Errorf("adding %d: %v", n, err)
		}
	}
	add(a, math.MaxInt64, true)
	add(a, 1, false)
	add(a, -math.MaxInt64, true)
	add(a, 5, true)
	reads(t, a, "n", "5")
	add(a, math.MaxInt64-5, true)
	syncAll(t, a, b, c)
	add(b, -math.MaxInt64, true)
	add(b, math.MinInt64, false)
	syncAll(t, a, b, c)
	add(c, 7, true)
	add(a, 1, false) // this actor's part is at its limit
	syncAll(t, a, b, c)
	reads(t, b, "n", "7")
	add(c, math.MaxInt64-7, true)
	syncAll(t, a, b, c)
	add(b, 1, false)
	must(t, b.apply(t, Op{Verb: Delete, Key: "n"}))
	add(b, 1, true)
	syncAll(t, a, b, c)
	reads(t, c, "n", "1")
	if err := a.apply(t, Op{Verb: Increment, Key: "o", Delta: math.MaxInt64 - 1}, Op{Verb: Increment, Key: "o", Delta: 100}); err == nil {
		t.Error("a batch leaves the range of a counter")
	}
}
