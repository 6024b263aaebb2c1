package crdt

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// begun returns a batch at a replica that has merged concurrent writes of another, drawn from
// a seed. Equal seeds give equal replicas.
func begun(t *testing.T, seed uint64) (*replica, *Batch) {
	rng := rand.New(rand.NewPCG(seed, 12))
	a, b := newReplica(1), newReplica(2)
	for range 2 {
		for range rng.IntN(6) {
			op := randomOp(rng)
			if rng.IntN(4) == 0 {
				op.Expiry = 5000
			}
			_ = []*replica{a, b}[rng.IntN(2)].apply(t, op)
		}
		syncAll(t, a, b)
	}
	return a, Begin(a.Store, a.hlc.Next(time.UnixMilli(2000)), 2000)
}

// A batch that grows refuses exactly what Apply refuses. Whatever it reads is what a store holds that
// has made the operations so far, and Commit makes what was read last.
func TestABatchReadsItsOwnWrites(t *testing.T) {
	keys := []string{"k0", "k1"}
	same := func(seed uint64, what string, x, y Entry) {
		if x.Kind() != y.Kind() || x.Value() != y.Value() || x.Expiry() != y.Expiry() || len(x.Siblings()) != len(y.Siblings()) {
			t.Fatalf("seed %d: %s: a read gives %v %v, the store %v %v", seed, what, x.Kind(), x.Value(), y.Kind(), y.Value())
		}
	}
	made := 0
	for seed := range uint64(2_000) {
		at, b := begun(t, seed)
		rng := rand.New(rand.NewPCG(seed, 13))
		for range 1 + rng.IntN(8) {
			op := randomOp(rng)
			if rng.IntN(2) == 0 {
				op = batchOp(rng)
				op.Key = keys[rng.IntN(2)]
			}
			before := len(b.Ops())
			twin, _ := begun(t, seed)
			want := twin.applyAt(t, 2000, append(slices.Clone(b.Ops()), op)...)
			err := b.Do(op)
			if (err == nil) != (want == nil) {
				t.Fatalf("seed %d: after %s %s: %v in the batch, %v in Apply", seed, spelt(b.Ops()), spelt([]Op{op}), err, want)
			}
			if err != nil {
				if len(b.Ops()) != before {
					t.Fatalf("seed %d: a refused operation stays in the batch", seed)
				}
				continue
			}
			made++
			if rng.IntN(3) == 0 {
				continue // the next read makes several operations at once
			}
			for _, key := range keys {
				got, _ := b.Read(key)
				want, _ := twin.Render(key, 2000)
				same(seed, key, got, want)
				if n, sum := (renderer{twin.Store}).tally(key, "", 2000).sum, b.Sum(key); n != sum {
					t.Fatalf("seed %d: %s: the sum is read as %d, and is %d", seed, key, sum, n)
				}
				for n := range 3 {
					in, err := b.Has(key, num(n))
					if wrong := (*TypeError)(nil); errors.As(err, &wrong) != (want.Kind() != 0 && want.Kind() != Set) {
						t.Fatalf("seed %d: after %s %s is a %v: %v", seed, spelt(b.Ops()), key, want.Kind(), err)
					}
					if want.Kind() == Set && in != holdsElement(want, num(n)) {
						t.Fatalf("seed %d: %s is %v, and %d is said to be in it: %t", seed, key, want.Value(), n, in)
					}
				}
			}
		}
		last := map[string]Entry{}
		for _, key := range keys {
			last[key], _ = b.Read(key)
		}
		if _, err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			now, _ := at.Render(key, 2000)
			same(seed, "after Commit "+key, last[key], now)
		}
		checkCounts(t, at.Store)
	}
	if made < 5_000 {
		t.Errorf("only %d operations were allowed", made)
	}
}

func holdsElement(e Entry, v Value) bool {
	for _, x := range e.Value().Elements() {
		if x == v {
			return true
		}
	}
	return false
}

// A batch that is not committed leaves no trace, and its conditions are about the keys before it.
func TestABatchThatIsNotCommittedLeavesNothing(t *testing.T) {
	r := newReplica(1)
	must(t, r.apply(t, Op{Verb: Put, Key: "there", Value: num(1)}))
	there, last := r.Probe("there", 1000).Version(), r.Last()
	b := Begin(r.Store, r.hlc.Next(time.UnixMilli(1000)), 1000)
	must(t, b.Check("there", there))
	must(t, b.Check("absent", 0))
	if bad := (*ConflictError)(nil); !errors.As(b.Check("there", 0), &bad) || bad.Have != there {
		t.Errorf("a wrong version: %+v", bad)
	}
	if bad := (*KeyError)(nil); !errors.As(b.Check("a//b", 0), &bad) {
		t.Error("a wrong key is checked")
	}
	for n := range MaxOps {
		must(t, b.Do(Op{Verb: Put, Key: "k" + strconv.Itoa(n%3), Value: num(n)}))
	}
	if err := b.Do(Op{Verb: Put, Key: "k", Value: num(1)}); err == nil || len(b.Ops()) != MaxOps {
		t.Errorf("%d operations, %v", len(b.Ops()), err)
	}
	if bad := (*OrderError)(nil); !errors.As(b.Check("k1", 0), &bad) {
		t.Error("the version of a key that the batch writes is checked")
	}
	if e, _ := b.Read("k0"); e.Value() != num(1023) {
		t.Errorf("read %v", e.Value())
	}
	if r.Last() != last || r.Len() != 1 || len(r.Changes()) != 1 {
		t.Errorf("%d keys, last dot %d", r.Len(), r.Last())
	}
	checkCounts(t, r.Store)
}
