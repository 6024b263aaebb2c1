package crdt

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// candidate returns an entry with a value in JSON; "" stands for a delete.
func candidate(t testing.TB, stamp, actor, seq uint64, doc string) Candidate {
	t.Helper()
	c := Candidate{Stamp: clock.Timestamp(stamp), Dot: clock.Dot{Actor: clock.Actor{Birth: actor}, Seq: seq}}
	if doc != "" {
		v, err := JSONValue([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		c.Value = v
	}
	return c
}

func TestResolveDecidesByStrategy(t *testing.T) {
	f := func(strategy Strategy, want string, discarded int, docs ...string) {
		t.Helper()
		var entries []Candidate
		for i, doc := range docs {
			entries = append(entries, candidate(t, uint64(i+1), uint64(i+1), 1, doc))
		}
		r, err := Resolve(entries, strategy, nil)
		if err != nil || r.Value.String() != want || r.Strategy != strategy || len(r.Discarded) != discarded {
			t.Errorf("%s of %q: %s without %v, %v; want %s without %d", strategy, docs, r.Value, r.Discarded, err, want, discarded)
		}
	}
	f(LastWriteWins, `2`, 1, `1`, `2`)
	f(LastWriteWins, `null`, 1, `1`, `null`)
	f(LastWriteWins, `3`, 1, ``, `3`)
	f(ArrayUnion, `[1,2,3,"a"]`, 0, `[3,1]`, `[]`, `["a",1,2]`)
	f(ArrayUnion, `[1]`, 0, `[1,1.0,1]`)
	f(MaxValue, `9`, 2, `3`, `9`, `-4.5`)
	f(MaxValue, `9007199254740993`, 1, `9007199254740993`, `9007199254740992`) // numbers compare exactly above 2^53
	f(MaxValue, `18446744073709551615`, 1, `18446744073709551615`, `1.8e19`)
	f(ObjectMerge, `{"a":2,"b":1,"c":3}`, 0, `{"a":1,"b":1}`, `{"a":2,"c":3}`)
	f(ObjectMerge, `{"o":{"x":1,"y":2}}`, 0, `{"o":{"x":1}}`, `{"o":{"y":2}}`) // a shallow merge would lose x
	f(ObjectMerge, `{"tags":["a","b"]}`, 0, `{"tags":["b"]}`, `{"tags":["a"]}`)
	f(ObjectMerge, `{"a":2}`, 1, `{"a":1}`, `{"a":2}`)
	f(ObjectMerge, `{"b":1}`, 1, `{"a":1,"b":1}`, `{"a":null}`)
	f(ObjectMerge, `{"a":{}}`, 1, `{"a":{"b":1}}`, `{"a":{"b":null}}`)
	f(ObjectMerge, `{"a":{}}`, 0, `{"a":{"b":null}}`)
	f(ObjectMerge, `{"a":{"c":2}}`, 2, `{"a":{"b":1,"c":2}}`, `{"a":{"b":null},"x":{}}`, `{"x":null,"a":{}}`)
	f(ObjectMerge, `{"a":{}}`, 0, `{"a":{}}`)
	f(ObjectMerge, `{"a":5}`, 1, `{"a":{"b":1}}`, `{"a":5}`)
	f(ObjectMerge, `{"a":{"b":1}}`, 1, `{"a":5}`, `{"a":{"b":1}}`)
	f(ObjectMerge, `{"a":{"c":2}}`, 2, `{"a":{"b":1}}`, `{"a":5}`, `{"a":{"c":2}}`)
	f(ObjectMerge, `{"a":[2]}`, 2, `{"a":[1]}`, `{"a":"x"}`, `{"a":[2]}`)
	f(ObjectMerge, `{"a":[]}`, 1, `{"a":1}`, `{"a":[]}`)
	f(ObjectMerge, `{}`, 0, `{}`)
}

// With one stamp for a whole object, two groupings of these three entries would give two
// results. With a stamp for every leaf both give the same result.
func TestObjectMergeWeighsEachLeafByItsOwnWriter(t *testing.T) {
	a, b, c := candidate(t, 69, 1, 1, `{"b":2}`), candidate(t, 38, 3, 1, `{"a":2}`), candidate(t, 64, 2, 1, `{"a":1}`)
	r, err := Resolve([]Candidate{a, b, c}, ObjectMerge, nil)
	if err != nil || r.Value.String() != `{"a":1,"b":2}` || !slices.Equal(r.Discarded, []Candidate{b}) {
		t.Errorf("%s without %v, %v", r.Value, r.Discarded, err)
	}
}

func TestTiesEndInTheDot(t *testing.T) {
	f := func(strategy Strategy, lower, greater Candidate, want string) {
		t.Helper()
		for _, entries := range [][]Candidate{{lower, greater}, {greater, lower}} {
			r, err := Resolve(entries, strategy, nil)
			if err != nil || r.Value.String() != want || !slices.Equal(r.Discarded, []Candidate{lower}) {
				t.Errorf("%s: %s without %v, %v; want %s", strategy, r.Value, r.Discarded, err, want)
			}
		}
	}
	f(LastWriteWins, candidate(t, 4, 9, 9, `"z"`), candidate(t, 5, 1, 1, `"a"`), `"a"`) // the stamp decides before the dot
	// The greater value has the lower dot: values must not decide.
	f(LastWriteWins, candidate(t, 5, 1, 9, `"z"`), candidate(t, 5, 2, 1, `"a"`), `"a"`)
	f(LastWriteWins, candidate(t, 5, 1, 1, `"z"`), candidate(t, 5, 1, 2, `"a"`), `"a"`)
	f(LastWriteWins, candidate(t, 5, 1, 1, `1`), candidate(t, 5, 1, 2, ``), `null`)
	f(ObjectMerge, candidate(t, 5, 1, 1, `{"a":"z"}`), candidate(t, 5, 2, 1, `{"a":"a"}`), `{"a":"a"}`)
	f(MaxValue, candidate(t, 5, 1, 1, `7`), candidate(t, 5, 2, 1, `7`), `7`)
	// Entries without dots also resolve the same in any order.
	f(LastWriteWins, candidate(t, 0, 0, 0, `1`), candidate(t, 0, 0, 0, `2`), `2`)
}

func TestResolveRefusesWhatAStrategyIsNotFor(t *testing.T) {
	f := func(strategy Strategy, reason string, docs ...string) {
		t.Helper()
		var entries []Candidate
		for i, doc := range docs {
			entries = append(entries, candidate(t, 1, uint64(i+1), 1, doc))
		}
		r, err := Resolve(entries, strategy, nil)
		if err == nil || !strings.Contains(err.Error(), reason) || !r.Value.IsZero() {
			t.Errorf("%s of %q: %v, %v; want an error that says %q", strategy, docs, r, err, reason)
		}
	}
	f(LastWriteWins, "no entries")
	f("newest", `no such strategy "newest": want last-write-wins, array-union,`, `1`)
	f(ArrayUnion, "array-union takes only values of type array; the entry of 000000000002-0000000000000000:1 is of type number", `[1]`, `2`)
	f(ArrayUnion, "absent", `[1]`, ``)
	f(MaxValue, "type string", `1`, `"2"`)
	f(MaxValue, "type null", `null`)
	f(ObjectMerge, "type array", `{}`, `[]`)
	f(CustomStrategy, "resolver is missing", `1`, `2`)

	half := strings.Repeat("x", 600_000)
	_, err := Resolve([]Candidate{{Value: mustValue(t, []string{half})}, {Value: mustValue(t, []string{half + "y"})}}, ArrayUnion, nil)
	if _, ok := errors.AsType[*wire.ValueError](err); !ok {
		t.Errorf("a union over the size limit: %v, want a *wire.ValueError", err)
	}
}

// documents draws values from few names and few scalars, of two levels, so that they often
// have paths and values in common.
func documents(strategy Strategy) *rapid.Generator[any] {
	scalar := rapid.SampledFrom([]any{1, 2, "x", true, 1.5})
	array := rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(scalar, 0, 3).Draw(t, "array") })
	switch strategy {
	case ArrayUnion:
		return array
	case MaxValue:
		return rapid.Custom(func(t *rapid.T) any { return rapid.IntRange(0, 5).Draw(t, "number") })
	case ObjectMerge:
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		object := func(field *rapid.Generator[any]) *rapid.Generator[any] {
			return rapid.Custom(func(t *rapid.T) any { return rapid.MapOfN(names, field, 0, 3).Draw(t, "object") })
		}
		leaf := rapid.OneOf(scalar, array, rapid.Just[any](nil))
		return object(rapid.OneOf(leaf, object(rapid.OneOf(leaf, object(leaf)))))
	}
	return scalar
}

func entriesOf(strategy Strategy) *rapid.Generator[[]Candidate] {
	return rapid.Custom(func(t *rapid.T) []Candidate {
		docs := rapid.SliceOfN(documents(strategy), 1, 6).Draw(t, "documents")
		entries := make([]Candidate, len(docs))
		for i, doc := range docs {
			v, err := ValueOf(doc)
			if err != nil {
				t.Fatal(err)
			}
			entries[i] = Candidate{
				Value: v,
				Stamp: clock.Timestamp(rapid.Uint64Range(1, 4).Draw(t, "stamp")),
				Dot:   clock.Dot{Actor: clock.Actor{Birth: rapid.Uint64Range(1, 3).Draw(t, "actor")}, Seq: uint64(i + 1)},
			}
		}
		return entries
	})
}

func resolved(t *rapid.T, entries []Candidate, strategy Strategy) Resolution {
	t.Helper()
	before := slices.Clone(entries)
	r, err := Resolve(entries, strategy, concat)
	if err != nil {
		t.Fatalf("%s of %v: %v", strategy, entries, err)
	}
	if !slices.Equal(before, entries) {
		t.Fatal("the entries were changed")
	}
	return r
}

// concat is a correct resolver whose result shows every sibling and their order.
func concat(siblings []Sibling) (Value, error) {
	var all []any
	for _, s := range siblings {
		all = append(all, s.Value)
	}
	return ValueOf(all)
}

var strategies = []Strategy{LastWriteWins, ArrayUnion, ObjectMerge, MaxValue, CustomStrategy}

func TestResolveDependsOnTheSetOfEntriesAlone(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(string(strategy), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				entries := entriesOf(strategy).Draw(t, "entries")
				want := resolved(t, entries, strategy)
				twice := rapid.IntRange(0, len(entries)).Draw(t, "twice")
				history := rapid.Permutation(slices.Concat(entries, entries[:twice])).Draw(t, "history")
				got := resolved(t, history, strategy)
				if got.Value != want.Value || !slices.Equal(got.Discarded, want.Discarded) {
					t.Fatalf("%v\nresolves to %s without %v, and in another order to %s without %v", entries, want.Value, want.Discarded, got.Value, got.Discarded)
				}
			})
		})
	}
}

// Discarded candidates have no influence later: a resolution in steps, each of which keeps
// the candidates that are not discarded, gives the same result as a single one, however the
// entries are grouped.
func TestResolveIsAssociativeOverItsSurvivors(t *testing.T) {
	for _, strategy := range []Strategy{LastWriteWins, ArrayUnion, MaxValue} {
		t.Run(string(strategy), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				entries := entriesOf(strategy).Draw(t, "entries")
				cut := rapid.IntRange(0, len(entries)).Draw(t, "cut")
				var kept []Candidate
				for _, part := range [][]Candidate{entries[:cut], entries[cut:]} {
					if len(part) == 0 {
						continue
					}
					r := resolved(t, part, strategy)
					for _, e := range part {
						if !slices.Contains(r.Discarded, e) {
							kept = append(kept, e)
						}
					}
				}
				if got, want := resolved(t, kept, strategy).Value, resolved(t, entries, strategy).Value; got != want {
					t.Fatalf("in steps %s, at once %s", got, want)
				}
			})
		})
	}
}

// assignment is one leaf that one entry writes, in the naive model.
type assignment struct {
	path  []string
	value any  // nil for a removal; an empty map[string]any for a marker
	via   bool // whether the assignment is only a map on the path of another
	entry Candidate
}

// flatten returns the assignments of doc. A map on the path of a leaf is an assignment with
// via set: it displaces a scalar or set at its path, and has no value of its own.
func flatten(path []string, doc any, c Candidate) []assignment {
	m, ok := doc.(map[string]any)
	if !ok || len(m) == 0 {
		return []assignment{{path, doc, false, c}}
	}
	list := []assignment{{path, nil, true, c}}
	if !slices.ContainsFunc(slices.Collect(maps.Values(m)), func(v any) bool { return v != nil }) {
		list = []assignment{{path, map[string]any{}, false, c}}
	}
	for name, v := range m {
		list = append(list, flatten(append(slices.Clone(path), name), v, c)...)
	}
	return list
}

func isPrefix(p, q []string) bool { return len(p) <= len(q) && slices.Equal(p, q[:len(p)]) }

// displaces reports whether b, which is later, removes a.
func (b assignment) displaces(a assignment) bool {
	_, aSet := a.value.([]any)
	_, bSet := b.value.([]any)
	_, aMarker := a.value.(map[string]any)
	_, bMarker := b.value.(map[string]any)
	switch {
	case slices.Equal(a.path, b.path):
		if aMarker || a.via {
			return !bMarker && !b.via
		}
		return !(aSet && bSet)
	case isPrefix(b.path, a.path): // b is above a: only a map leaves the content below it
		return !bMarker && !b.via
	case isPrefix(a.path, b.path) && b.value == nil && !b.via: // b needs a map at a.path, for which another assignment with via stands
		return false
	case isPrefix(a.path, b.path): // b is below a, and needs a map there
		return !aMarker && !a.via
	}
	return false
}

func TestObjectMergeEqualsThePerLeafModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := entriesOf(ObjectMerge).Draw(t, "entries")
		var all []assignment
		for _, e := range entries {
			all = append(all, flatten(nil, e.Value.Any(), e)...)
		}
		want := make(map[string]any)
		var sorted []assignment
		for _, a := range all {
			gone := slices.ContainsFunc(all, func(b assignment) bool {
				return b.entry.compare(a.entry) > 0 && b.displaces(a)
			})
			if !gone && !a.via && a.value != nil && len(a.path) > 0 {
				sorted = append(sorted, a)
			}
		}
		// Markers come before the fields of their objects.
		slices.SortStableFunc(sorted, func(a, b assignment) int { return len(a.path) - len(b.path) })
		for _, a := range sorted {
			m := want
			for _, name := range a.path[:len(a.path)-1] {
				next, ok := m[name].(map[string]any)
				if !ok {
					next = make(map[string]any)
					m[name] = next
				}
				m = next
			}
			last := a.path[len(a.path)-1]
			switch v := a.value.(type) {
			case []any:
				set, _ := m[last].([]any)
				m[last] = append(slices.Clone(set), v...)
			case map[string]any:
				if m[last] == nil {
					m[last] = make(map[string]any)
				}
			default:
				m[last] = v
			}
		}
		model, err := ValueOf(unionArrays(want))
		if err != nil {
			t.Fatal(err)
		}
		if got := resolved(t, entries, ObjectMerge).Value; got != model {
			t.Fatalf("%v\nmerge to %s, the model says %s", entries, got, model)
		}
	})
}

// unionArrays sorts every array in doc and removes repeated elements.
func unionArrays(doc any) any {
	switch v := doc.(type) {
	case map[string]any:
		for _, name := range slices.Collect(maps.Keys(v)) {
			v[name] = unionArrays(v[name])
		}
	case []any:
		elements := make([]Value, 0, len(v))
		for _, e := range v {
			value, _ := ValueOf(e)
			elements = append(elements, value)
		}
		slices.SortFunc(elements, Value.Compare)
		var set []any
		for _, e := range slices.Compact(elements) {
			set = append(set, e.Any())
		}
		if set == nil {
			set = []any{}
		}
		return set
	}
	return doc
}

// A store that is patched in the order of the stamps has the value that Resolve returns. The
// test draws no nested empty maps: where a map has fields the store writes no marker for a
// later empty map, but Resolve keeps the marker, as for concurrent writes.
func TestResolveMergesObjectsAsTheStoreDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := entriesOf(ObjectMerge).Filter(func(list []Candidate) bool {
			return !slices.ContainsFunc(list, func(c Candidate) bool { return strings.Contains(c.Value.raw[1:], "\x80") })
		}).Draw(t, "entries")
		slices.SortFunc(entries, Candidate.compare)
		s := New(Config{Actor: clock.Actor{Birth: 1}})
		for i, e := range entries {
			if _, err := s.Apply(clock.Timestamp(10+i), 0, Op{Verb: Patch, Key: "k", Value: e.Value}); err != nil {
				t.Fatal(err)
			}
		}
		var got Value
		if e, ok := s.Render("k", 0); ok {
			got = e.Value()
		} else {
			got, _ = ValueOf(map[string]any{})
		}
		if want := resolved(t, entries, ObjectMerge).Value; got != want {
			t.Fatalf("%v\nthe store holds %s, Resolve says %s", entries, got, want)
		}
	})
}

func siblingsOf(t testing.TB, docs ...any) []Sibling {
	var list []Sibling
	for i, doc := range docs {
		list = append(list, Sibling{Value: mustValue(t, doc), Dot: clock.Dot{Actor: clock.Actor{Birth: 1}, Seq: uint64(i + 1)}})
	}
	return list
}

func TestResolversSeeTheirOwnCopySortedByDot(t *testing.T) {
	siblings := siblingsOf(t, "a", "b", "c")
	shuffled := slices.Clone(siblings)
	rand.New(rand.NewPCG(1, 2)).Shuffle(3, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	before := slices.Clone(shuffled)
	v, err := ResolveSiblings(func(s []Sibling) (Value, error) {
		if !slices.Equal(s, siblings) {
			t.Errorf("siblings are %v", s)
		}
		last := s[2].Value
		clear(s)
		return last, nil
	}, shuffled)
	if err != nil || v != siblings[2].Value || !slices.Equal(shuffled, before) {
		t.Errorf("%s, %v, %v", v, err, shuffled)
	}
}

func TestAValueWithoutRivalsNeedsNoResolver(t *testing.T) {
	one := siblingsOf(t, "a")
	v, err := ResolveSiblings(func([]Sibling) (Value, error) { panic("called") }, one)
	if err != nil || v != one[0].Value {
		t.Error(v, err)
	}
	if v, err := ResolveSiblings(concat, nil); err == nil {
		t.Error(v)
	}
}

type rudeError struct{}

func (rudeError) Error() string { panic("even the error panics") }

func TestHostileResolversOnlyFail(t *testing.T) {
	cause := errors.New("no quorum")
	f := func(name string, r Resolver, want string) {
		t.Helper()
		v, err := ResolveSiblings(r, siblingsOf(t, 1, 2))
		if err == nil || !strings.Contains(err.Error(), want) || !v.IsZero() {
			t.Errorf("%s: %v, %v; want an error that says %q", name, v, err, want)
		}
	}
	f("panics", func([]Sibling) (Value, error) { panic("boom") }, "resolver panicked: boom")
	f("panics with nil", func([]Sibling) (Value, error) { panic(nil) }, "panicked")
	f("panics rudely", func([]Sibling) (Value, error) { panic(rudeError{}) }, "panicked")
	f("reads too far", func(s []Sibling) (Value, error) { return s[7].Value, nil }, "out of range")
	f("fails", func([]Sibling) (Value, error) { return Value{}, cause }, "no quorum")
	f("fails with a value", func(s []Sibling) (Value, error) { return s[0].Value, cause }, "no quorum")
	f("returns nothing", func([]Sibling) (Value, error) { return Value{}, nil }, "returned no value")
	f("is missing", nil, "missing")

	_, err := ResolveSiblings(func([]Sibling) (Value, error) { panic(fmt.Errorf("deep: %w", cause)) }, siblingsOf(t, 1, 2))
	p, ok := errors.AsType[*PanicError](err)
	if !ok || !errors.Is(err, cause) || !strings.Contains(string(p.Stack), "TestHostileResolversOnlyFail") {
		t.Errorf("%v: want a *PanicError with its cause and its stack", err)
	}
	if _, err := Resolve([]Candidate{candidate(t, 1, 1, 1, "1"), candidate(t, 2, 2, 1, "2")}, CustomStrategy, func([]Sibling) (Value, error) { panic("boom") }); err == nil {
		t.Error("a panic went unnoticed")
	}
}
