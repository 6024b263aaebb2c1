package crdt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// pair is two replicas. sync delivers to each the deltas that the other made.
func syncAll(t testing.TB, rs ...*replica) {
	t.Helper()
	for _, from := range rs {
		for _, to := range rs {
			for _, p := range from.log {
				if from != to {
					to.receive(t, p)
				}
			}
		}
	}
	for _, r := range rs[1:] {
		if !bytes.Equal(rs[0].AppendState(nil), r.AppendState(nil)) {
			t.Fatal("replicas differ")
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func reads(t testing.TB, r *replica, key, want string) {
	t.Helper()
	e, ok := r.Render(key, 1000)
	got := "absent"
	if ok {
		got = e.Value().String()
	}
	if got != want {
		t.Fatalf("%s reads %s, want %s", key, got, want)
	}
}

func num(n int) Value { v, _ := ValueOf(n); return v }

// ipfs/go-ds-crdt#238: put, put, delete against a concurrent put gave two values.
func TestPutPutDeleteAgainstAConcurrentPutHasOneOutcome(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}} {
		a, b, c := newReplica(1), newReplica(2), newReplica(3)
		must(t, a.apply(t, Op{Verb: Put, Key: "k", Value: num(1)}))
		must(t, a.apply(t, Op{Verb: Put, Key: "k", Value: num(2)}))
		must(t, a.apply(t, Op{Verb: Delete, Key: "k"}))
		must(t, b.apply(t, Op{Verb: Put, Key: "k", Value: num(3)}))
		for _, i := range order {
			c.receive(t, a.log[i])
		}
		syncAll(t, a, b, c)
		reads(t, c, "k", "absent") // the delete is stamped later
	}
}

// riak_dt#99, #113: a remove that came before the add it removes was lost.
func TestARemoveThatComesFirstStillRemoves(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(1)}}))
	must(t, a.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(2)}}))
	must(t, a.apply(t, Op{Verb: Remove, Key: "s", Values: []Value{num(1)}}))
	for _, i := range []int{2, 1, 0} {
		b.receive(t, a.log[i])
	}
	reads(t, b, "s", "[2]")
}

func TestAClearThatComesFirstStillClears(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Patch, Key: "o", Value: object("x", 1, "y", []any{1, 2})}))
	must(t, a.apply(t, Op{Verb: Put, Kind: Object, Key: "o", Value: object("z", 3)}))
	for i := len(a.log) - 1; i >= 0; i-- {
		b.receive(t, a.log[i])
	}
	reads(t, b, "o", `{"z":3}`)
	syncAll(t, a, b)
}

func TestAConcurrentAddWinsOverAClear(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(1), num(2)}}))
	syncAll(t, a, b)
	must(t, b.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(2)}}))
	must(t, a.apply(t, Op{Verb: Delete, Key: "s"}))
	syncAll(t, a, b)
	reads(t, a, "s", "[2]")
}

// cr-sqlite#386: equal times must not leave each side with its own value.
func TestEqualStampsAreDecidedByActor(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Put, Key: "k", Value: num(9)}))
	must(t, b.apply(t, Op{Verb: Put, Key: "k", Value: num(1)}))
	syncAll(t, a, b)
	reads(t, a, "k", "1")
	if c := a.Conflicts(nil, 9); len(c) != 1 || c[0].Loser.Value != num(9) {
		t.Fatalf("journal %+v", c)
	}
}

func TestConcurrentIncrementsAllCount(t *testing.T) {
	a, b, c := newReplica(1), newReplica(2), newReplica(3)
	for i, r := range []*replica{a, b, c} {
		must(t, r.apply(t, Op{Verb: Increment, Key: "n", Delta: int64(i + 1)}))
		must(t, r.apply(t, Op{Verb: Increment, Key: "n", Delta: -10}))
	}
	syncAll(t, a, b, c)
	reads(t, a, "n", "-24")
	must(t, b.apply(t, Op{Verb: Delete, Key: "n"}))
	must(t, b.apply(t, Op{Verb: Increment, Key: "n", Delta: 5}))
	syncAll(t, a, b, c)
	reads(t, c, "n", "5")
}

func TestAScalarReplacesASubtreeAndTheReverse(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	must(t, a.apply(t, Op{Verb: Patch, Key: "o", Value: object("x", object2("y", 1))}))
	must(t, a.apply(t, Op{Verb: Patch, Key: "o", Value: object("x", 2)}))
	must(t, a.apply(t, Op{Verb: Patch, Key: "o", Value: object("x", nil, "w", object2("v", []any{}))}))
	must(t, a.apply(t, Op{Verb: Patch, Key: "o", Value: object("x", object2("z", 3))}))
	syncAll(t, a, b)
	reads(t, b, "o", `{"w":{"v":[]},"x":{"z":3}}`)
}

func object2(k string, v any) map[string]any { return map[string]any{k: v} }

func TestALeafWrittenAgainCostsOneRecord(t *testing.T) {
	a := newReplica(1)
	must(t, a.apply(t, Op{Verb: Put, Key: "o", Path: []string{"x"}, Value: num(1)}))
	n := len(a.log)
	must(t, a.apply(t, Op{Verb: Put, Key: "o", Path: []string{"x"}, Value: num(2)}))
	if len(a.log) != n+1 {
		t.Fatalf("%d records", len(a.log)-n)
	}
	a.Changes()
	must(t, a.apply(t, Op{Verb: Put, Kind: Object, Key: "o", Value: object("p", 1, "q", 2)}))
	if c := a.Changes(); len(c) != 1 || c[0].Cause != CausePut {
		t.Fatalf("a replace is one change, not %+v", c)
	}
}

// Equal states are not enough: the value must include every increment.
func TestAnIncrementAfterSeeingOthersKeepsTheirs(t *testing.T) {
	a, b, c := newReplica(1), newReplica(2), newReplica(3)
	for range 3 {
		for _, r := range []*replica{a, b, c} {
			must(t, r.apply(t, Op{Verb: Increment, Key: "n", Delta: 2}))
		}
		syncAll(t, a, b, c)
	}
	must(t, a.apply(t, Op{Verb: Increment, Key: "n", Delta: 1}))
	syncAll(t, a, b, c)
	reads(t, a, "n", "19")
	reads(t, c, "n", "19")
}

// A write after a conflict also covers the loser, so a loser that arrives late is no conflict
// with it.
func TestAWriteOverAConflictCoversTheLoser(t *testing.T) {
	a, b, c, d := newReplica(1), newReplica(2), newReplica(3), newReplica(4)
	must(t, a.apply(t, Op{Verb: Put, Key: "k", Value: num(1)}))
	must(t, b.apply(t, Op{Verb: Put, Key: "k", Value: num(2)}))
	c.receive(t, a.log[0])
	c.receive(t, b.log[0])
	must(t, c.apply(t, Op{Verb: Put, Key: "k", Value: num(3)}))
	d.receive(t, c.log[0])
	d.receive(t, a.log[0])
	d.receive(t, b.log[0])
	if got := d.Conflicts(nil, 9); len(got) != 0 {
		t.Fatalf("journal %+v", got)
	}
	reads(t, d, "k", "3")
	checkCounts(t, d.Store)
}

// A clear covers only dots that its writer has seen.
func TestAClearWithGapsSparesWhatItsWriterNeverSaw(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	for i := range 4 {
		must(t, a.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(i)}}))
	}
	for _, i := range []int{0, 2, 3} {
		b.receive(t, a.log[i])
	}
	must(t, b.apply(t, Op{Verb: Delete, Key: "s"}))
	reads(t, b, "s", "absent")
	syncAll(t, a, b)
	reads(t, a, "s", "[1]")
}

// basho/riak_dt#78: the comparison of two contexts reported that one covered the other
// although neither did.
func TestContextsWithDifferentActorsCoverNeitherWay(t *testing.T) {
	a, b, c := newReplica(1), newReplica(2), newReplica(3)
	must(t, a.apply(t, Op{Verb: Put, Key: "k", Value: num(1)}))
	must(t, b.apply(t, Op{Verb: Put, Key: "k", Value: num(2)}))
	if a.Context().Covers(b.Context()) || b.Context().Covers(a.Context()) {
		t.Error("concurrent contexts cover each other")
	}
	c.receive(t, a.log[0])
	if !c.Context().Covers(a.Context()) || a.Context().Covers(b.Context()) || c.Context().Covers(b.Context()) {
		t.Error("a context covers what it lacks, or not what it has")
	}
	syncAll(t, a, b, c)
	if !a.Context().Covers(b.Context()) || !b.Context().Covers(a.Context()) {
		t.Error("equal contexts do not cover each other")
	}
}

// basho/riak_dt#135: replicas with the same content differed because it had arrived in
// another order.
func TestTheStateHasNoMemoryOfTheOrderItCameIn(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	for i := range 20 {
		must(t, a.apply(t, Op{Verb: Add, Key: "s", Values: []Value{num(i)}}))
		must(t, b.apply(t, Op{Verb: Put, Key: string(rune('a' + i)), Value: num(i)}))
	}
	c, d := newReplica(3), newReplica(4)
	for i := range 20 {
		c.receive(t, a.log[i])
		c.receive(t, b.log[i])
		d.receive(t, b.log[19-i])
		d.receive(t, a.log[19-i])
	}
	if !bytes.Equal(c.AppendState(nil), d.AppendState(nil)) || c.Sum() != d.Sum() {
		t.Error("the same content, two states")
	}
	x, _ := c.Render("s", 1000)
	y, _ := d.Render("s", 1000)
	if x.Version() != y.Version() || x.Value() != y.Value() {
		t.Error("the same content reads differently")
	}
}

// The conflict journal is bounded in bytes, because each entry keeps two values.
func TestLargeConflictsDoNotPileUp(t *testing.T) {
	a, b := newReplica(1), newReplica(2)
	large, err := ValueOf(strings.Repeat("x", 1<<20-100))
	must(t, err)
	for i := range 40 {
		op := Op{Verb: Put, Key: fmt.Sprint("k", i), Value: large}
		must(t, a.apply(t, op))
		must(t, b.apply(t, op))
		b.receive(t, a.log[i])
		a.receive(t, b.log[i])
	}
	for _, r := range []*replica{a, b} {
		list := r.Conflicts(nil, 100)
		if len(list) < 4 || len(list) > 8 || list[0].Key != "k39" || r.Stats().Conflicts != 40 {
			t.Errorf("of 40 conflicts of 2 MiB each the journal holds %d, the latest of %q", len(list), list[0].Key)
		}
	}
}

// Peers concurrently write a leaf and other content at or below the same path. A later write
// of the leaf by a peer that has seen both replaces both.
func TestWhatALeafReplacedDoesNotComeBackWithIt(t *testing.T) {
	at := func(verb Verb, n int, path ...string) Op {
		return Op{Verb: verb, Key: "o", Path: path, Value: num(n), Values: []Value{num(n)}, Delta: int64(n)}
	}
	f := func(clash, again Op, want string) {
		t.Helper()
		a, b := newReplica(1), newReplica(2)
		must(t, a.apply(t, at(Put, 1, "a")))
		must(t, b.apply(t, clash))
		syncAll(t, a, b)
		must(t, a.apply(t, at(Put, 3, "a")))
		syncAll(t, a, b)
		reads(t, b, "o", `{"a":3}`)
		must(t, b.apply(t, again))
		syncAll(t, a, b)
		reads(t, a, "o", want)
	}
	f(at(Put, 2, "a", "c"), at(Put, 4, "a", "b"), `{"a":{"b":4}}`)
	f(at(Put, 2, "a", "c", "d"), at(Put, 4, "a", "b"), `{"a":{"b":4}}`)
	f(at(Put, 2, "a", "c"), Op{Verb: Patch, Key: "o", Value: object("a", map[string]any{"b": 4})}, `{"a":{"b":4}}`)
	f(at(Add, 2, "a"), at(Add, 4, "a"), `{"a":[4]}`)
	f(at(Increment, 2, "a"), at(Increment, 4, "a"), `{"a":4}`)
	f(at(Bump, 6, "a"), at(Bump, 4, "a"), `{"a":4}`)
}
