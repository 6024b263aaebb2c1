package crdttest

import (
	"errors"
	"slices"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// TB is the test that a check fails: *testing.T, *testing.B, *testing.F or *rapid.T.
type TB = rapid.TB

// Values draws values that a key may hold: scalars, and arrays and maps of up to two
// levels. They come from a small range, so that equal values are common.
func Values() *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.SampledFrom([]any{nil, true, false, "", "a", "b", -1.5, 1 << 60}),
		rapid.Map(rapid.IntRange(-3, 12), func(n int) any { return n }),
	)
	nest := func(inner *rapid.Generator[any]) *rapid.Generator[any] {
		return rapid.OneOf(
			inner,
			rapid.Map(rapid.SliceOfN(inner, 0, 4), func(a []any) any { return a }),
			rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), inner, 0, 5), func(m map[string]any) any { return m }),
		)
	}
	return nest(nest(scalar))
}

// repeats is the number of times that a check repeats a call of a resolver. A result that
// depends on the iteration of a map of two elements differs in at least one of the calls
// with probability 1 - 2^-15 or more.
const repeats = 16

// CheckResolver fails t if resolve could make two peers read one state of a custom key
// differently. values draws the siblings' values as Go values; nil means [Values]. A
// resolver for one type refuses most of these, so its test should draw values of that type.
// An error of resolve is no fault if it always returns one for the same siblings.
func CheckResolver(t TB, resolve crdt.Resolver, values *rapid.Generator[any]) {
	t.Helper()
	if values == nil {
		values = Values()
	}
	rapid.Check(t, func(t *rapid.T) { checkFunction(t, resolve, values) })
	rapid.Check(t, func(t *rapid.T) { checkHistory(t, resolve, values) })
}

// checkFunction resolves several keys, and then each of them again several times in turn. A
// result must not depend on anything but the siblings, such as the calls in between.
func checkFunction(t *rapid.T, resolve crdt.Resolver, values *rapid.Generator[any]) {
	keys := make([][]crdt.Sibling, rapid.IntRange(1, 4).Draw(t, "keys"))
	first := make([]answer, len(keys))
	for i := range keys {
		keys[i] = drawSiblings(t, values)
		first[i] = ask(t, resolve, keys[i])
	}
	for range repeats {
		for i := range keys {
			if again := ask(t, resolve, keys[i]); again != first[i] {
				t.Fatalf("the resolver made %s and then %s of the same siblings: it depends on more than them (a clock, randomness, map iteration, or state it keeps)", first[i], again)
			}
		}
	}
}

// answer is the result of one call of a resolver: a value, or an error.
type answer struct {
	value  crdt.Value
	failed bool
}

func (a answer) String() string {
	if a.failed {
		return "an error"
	}
	return a.value.String()
}

// ask calls the resolver and fails t if it panics. The resolver cannot change the store's
// memory, because values are immutable and it gets its own copy of the slice.
func ask(t *rapid.T, resolve crdt.Resolver, siblings []crdt.Sibling) answer {
	t.Helper()
	v, err := crdt.ResolveSiblings(resolve, siblings)
	if p, ok := errors.AsType[*crdt.PanicError](err); ok {
		t.Fatalf("the resolver panicked with %v on %v\n%s", p.Value, siblings, p.Stack)
	}
	return answer{v, err != nil}
}

func drawSiblings(t *rapid.T, values *rapid.Generator[any]) []crdt.Sibling {
	list := make([]crdt.Sibling, rapid.IntRange(2, 5).Draw(t, "siblings"))
	for i := range list {
		list[i] = crdt.Sibling{
			Value: drawValue(t, values),
			Dot:   clock.Dot{Actor: clock.Actor{Birth: uint64(i + 1)}, Seq: rapid.Uint64Range(1, 9).Draw(t, "seq")},
			Stamp: clock.Timestamp(rapid.Uint64Range(1, 4).Draw(t, "stamp")),
		}
	}
	return list
}

func drawValue(t *rapid.T, values *rapid.Generator[any]) crdt.Value {
	t.Helper()
	v, err := crdt.ValueOf(values.Draw(t, "value"))
	if err != nil {
		t.Fatalf("the generator drew what cannot be stored: %v", err)
	}
	return v
}

// peer is one store and the sections that it sent.
type peer struct {
	*crdt.Store
	sent []section
}

type section struct {
	actors []clock.Actor
	bytes  []byte
}

const key = "checked"

// checkHistory lets three peers write concurrently, delivers their sections in any order
// and some of them twice, and compares the values that the peers read.
func checkHistory(t *rapid.T, resolve crdt.Resolver, values *rapid.Generator[any]) {
	rules, err := crdt.NewRules(crdt.Rule{Pattern: key, Kind: crdt.Custom, Resolver: "checked"})
	if err != nil {
		t.Fatal(err)
	}
	var peers [3]peer
	for i := range peers {
		peers[i].Store = crdt.New(crdt.Config{Actor: clock.Actor{Birth: uint64(i + 1)}, Rules: rules})
	}
	now := clock.Timestamp(0)
	for range rapid.IntRange(1, 4).Draw(t, "rounds") {
		for i := range peers {
			if now++; rapid.Bool().Draw(t, "writes") {
				peers[i].put(t, now, drawValue(t, values))
			}
		}
		from, to := rapid.IntRange(0, 2).Draw(t, "from"), rapid.IntRange(0, 2).Draw(t, "to")
		for _, s := range peers[from].sent {
			peers[to].join(t, s)
		}
	}
	var all []section
	for i := range peers {
		all = append(all, peers[i].sent...)
	}
	if len(all) == 0 {
		return
	}
	var read [3]answer
	for i := range peers {
		twice := rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "twice")
		for _, s := range rapid.Permutation(slices.Concat(all, twice)).Draw(t, "delivery") {
			peers[i].join(t, s)
		}
		e, ok := peers[i].Render(key, 0)
		if !ok {
			t.Fatal("a peer that has received every write reads nothing")
		}
		if read[i] = ask(t, resolve, e.Siblings()); read[i] != read[0] {
			t.Fatalf("one peer reads %s, another %s, of siblings %v", read[0], read[i], e.Siblings())
		}
	}
}

func (p *peer) put(t *rapid.T, now clock.Timestamp, v crdt.Value) {
	deltas, err := p.Apply(now, 0, crdt.Op{Verb: crdt.Put, Key: key, Value: v})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deltas {
		var table crdt.ActorTable
		b := p.AppendSection(nil, &table, d.Actor(), d.Seq(), d.Seq(), []crdt.Delta{d})
		p.sent = append(p.sent, section{table.Actors(), b})
	}
}

func (p *peer) join(t *rapid.T, s section) {
	r := wire.NewReader(s.bytes)
	if _, err := p.JoinSection(&r, s.actors, 1<<63); err != nil {
		t.Fatal(err)
	}
}
