package crdt

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// twice makes each of ops at a replica of its own, all with one actor. So the packets have
// the same dot and different contents.
func twice(t *testing.T, ops ...Op) (told []packet) {
	for i, op := range ops {
		r := newReplica(9)
		must(t, r.applyAt(t, 1000+uint64(i), op))
		told = append(told, r.log...)
	}
	return told
}

// Every replica keeps the same content of a dot, whatever the order of arrival and however
// often each content arrives.
func TestOfTwoContentsOfOneDotOneStays(t *testing.T) {
	ops := map[string][]Op{
		"values":   {{Verb: Put, Key: "k", Value: num(1)}, {Verb: Put, Key: "k", Value: num(2)}, {Verb: Put, Key: "k", Value: num(3)}},
		"keys":     {{Verb: Put, Key: "a", Value: num(1)}, {Verb: Put, Key: "b", Value: num(1)}},
		"kinds":    {{Verb: Put, Key: "k", Value: num(1)}, {Verb: Add, Key: "k", Values: []Value{num(1)}}, {Verb: Increment, Key: "k", Delta: 2}},
		"elements": {{Verb: Add, Key: "s", Values: []Value{num(1)}}, {Verb: Add, Key: "s", Values: []Value{num(2)}}},
		"fields":   {{Verb: Patch, Key: "o", Value: object("x", 1)}, {Verb: Patch, Key: "o", Value: object("x", 2)}, {Verb: Patch, Key: "o", Value: object("y", 1)}},
		"expiries": {{Verb: Put, Key: "k", Value: num(1)}, {Verb: Put, Key: "k", Value: num(1), Expiry: 5000}, {Verb: Put, Key: "k", Value: num(1), Expiry: 6000}},
	}
	for name, list := range ops {
		told := twice(t, list...)
		for seed := range uint64(30) {
			rng := rand.New(rand.NewPCG(seed, 1))
			a, b := newReplica(1), newReplica(2)
			for _, r := range []*replica{a, b} {
				must(t, r.apply(t, Op{Verb: Put, Key: "other", Value: num(7)}))
				order := rng.Perm(len(told))
				for _, i := range slices.Concat(order, order[:1], rng.Perm(len(told))) {
					r.receive(t, told[i])
				}
				if n, last := r.Rivals(); n == 0 || last.Dot.Actor.Rand != 9 || last.Key == "" {
					t.Fatalf("%s: %d rivals are counted, the last %v", name, n, last)
				}
			}
			syncAll(t, a, b)
			if a.Sum() != b.Sum() || a.Len() != b.Len() || a.Probe("k", 1000).Version() != b.Probe("k", 1000).Version() {
				t.Fatalf("%s, seed %d: checksums, keys or versions differ", name, seed)
			}
			x, _ := a.Render("k", 1000)
			y, _ := b.Render("k", 1000)
			if !bytes.Equal(x.Value().bytes(), y.Value().bytes()) || x.Expiry() != y.Expiry() {
				t.Fatalf("%s, seed %d: %v and %v are read", name, seed, x.Value(), y.Value())
			}
		}
	}
}

// The changes report both: the content that was removed and the content that replaced it.
func TestReadersAreToldOfTheContentThatStays(t *testing.T) {
	told := twice(t, Op{Verb: Put, Key: "k", Value: num(1)}, Op{Verb: Put, Key: "k", Value: num(2)})
	for _, first := range []int{0, 1} {
		r := newReplica(1)
		r.receive(t, told[first])
		r.Changes()
		r.receive(t, told[1-first])
		holds, _ := r.Render("k", 1000)
		changes := r.Changes()
		if len(changes) == 0 {
			reads(t, r, "k", num(first+1).String())
			continue
		}
		if c := changes[len(changes)-1]; c.Cause != CausePut || c.New != holds.Value() || changes[0].Old != num(first+1) {
			t.Errorf("%v is told of a key that reads %v", changes, holds.Value())
		}
	}
}

// The checksums of two contents differ, and they are equal where only the past was forgotten.
func TestTheChecksumsCoverContents(t *testing.T) {
	told := twice(t, Op{Verb: Put, Key: "k", Value: num(1)}, Op{Verb: Put, Key: "k", Value: num(2)})
	a, b := newReplica(1), newReplica(2)
	a.receive(t, told[0])
	b.receive(t, told[1])
	if a.Sum() == b.Sum() || *a.Sums() == *b.Sums() {
		t.Error("two contents of one dot have one checksum")
	}
	if a.Probe("k", 1000).Version() != b.Probe("k", 1000).Version() {
		t.Error("the version of a key is not that of its dots")
	}
	c, d := newReplica(3), newReplica(4)
	for _, r := range []*replica{c, d} {
		r.receive(t, told[0])
	}
	must(t, c.apply(t, Op{Verb: Put, Key: "k", Value: num(5)}))
	syncAll(t, c, d)
	if got := c.Collect(d.Context().Vector(), 2000, 2000); got.Pasts != 1 || c.Sum() != d.Sum() {
		t.Errorf("%d pasts are forgotten, and the checksums are alike: %v", got.Pasts, c.Sum() == d.Sum())
	}
}

// After Resum, a value that a memory fault changed and a write replaced has no effect on the
// checksums.
func TestBrokenMemoryDoesNotStayInTheChecksums(t *testing.T) {
	r := newReplica(1)
	must(t, r.apply(t, Op{Verb: Put, Key: "k", Value: Value{"\xa3abc"}}))
	e, _, _ := r.Load("k")
	*unsafe.StringData(e.r.val()[1:]) ^= 1
	must(t, r.apply(t, Op{Verb: Put, Key: "k", Value: num(2)}))
	good := newReplica(2)
	for _, p := range r.log[1:] {
		good.receive(t, p)
	}
	if r.Sum() == good.Sum() {
		t.Fatal("nothing broke")
	}
	if r.Resum(); r.Sum() != good.Sum() || *r.Sums() != *good.Sums() {
		t.Error("the checksums are not those of what is there")
	}
}
