package crdt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Strategy names a way to make one value from several.
type Strategy string

// The strategies of [Resolve]. Each merges values as the kind of key that it names does.
const (
	LastWriteWins  Strategy = "last-write-wins" // the latest value, as a Register
	ArrayUnion     Strategy = "array-union"     // every element once, sorted, as a Set
	ObjectMerge    Strategy = "object-merge"    // each leaf by its latest writer, as an Object
	MaxValue       Strategy = "max-value"       // the greatest number, as a Max
	CustomStrategy Strategy = "custom"          // the value that the user's Resolver returns
)

// Candidate is one of the values from which [Resolve] makes one. An absent Value stands for
// a delete, which only LastWriteWins accepts. Candidates can be compared with ==.
type Candidate struct {
	Value Value
	Stamp clock.Timestamp
	Dot   clock.Dot
}

// compare is the total order in which later candidates win: by stamp, then by dot. Two
// candidates with one dot should be the same write. If their values differ nevertheless,
// the values decide, so that the result never depends on the order of the arguments.
func (c Candidate) compare(o Candidate) int {
	return cmp.Or(cmp.Compare(c.Stamp, o.Stamp), c.Dot.Compare(o.Dot), cmp.Compare(c.Value.raw, o.Value.raw))
}

// Resolution is the result of [Resolve].
type Resolution struct {
	Value     Value // absent if LastWriteWins chose a delete
	Strategy  Strategy
	Discarded []Candidate // candidates that contributed nothing to Value, earliest first
}

// Resolve makes one value from entries. The result depends only on the set of entries: the
// order of entries and repeated entries do not change it. Only CustomStrategy uses custom,
// which gets the entries sorted by dot.
//
// ObjectMerge merges deeply and leaf by leaf, as if the entries were patches that are
// applied in the order of their stamps: arrays unite and null removes. If one entry has a
// leaf and another a map at one path, the later one stays. To resolve in steps, the caller
// must keep the entries and not the result, because the parts of a merged object have
// different stamps, and no single stamp would make the merge associative.
//
// Resolve fails with a *wire.ValueError if an entry does not have the type that the
// strategy requires, or if the result is beyond the limits of a Value.
func Resolve(entries []Candidate, strategy Strategy, custom Resolver) (Resolution, error) {
	if len(entries) == 0 {
		return Resolution{}, errors.New("resolve: there are no entries")
	}
	sorted := slices.SortedFunc(slices.Values(entries), Candidate.compare)
	sorted = slices.Compact(sorted)
	var value Value
	var used []bool // whether each candidate of sorted contributed to value
	var err error
	switch strategy {
	case LastWriteWins:
		value, used = sorted[len(sorted)-1].Value, onlyOne(len(sorted), len(sorted)-1)
	case ArrayUnion:
		value, used, err = unite(sorted)
	case ObjectMerge:
		value, used, err = mergeObjects(sorted)
	case MaxValue:
		value, used, err = greatest(sorted)
	case CustomStrategy:
		value, used, err = askUser(sorted, custom)
	default:
		err = fmt.Errorf("no such strategy %q: want %s, %s, %s, %s or %s", string(strategy), LastWriteWins, ArrayUnion, ObjectMerge, MaxValue, CustomStrategy)
	}
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve: %w", err)
	}
	r := Resolution{Value: value, Strategy: strategy}
	for i, c := range sorted {
		if !used[i] {
			r.Discarded = append(r.Discarded, c)
		}
	}
	return r, nil
}

// onlyOne returns a slice of length n in which only element i is true.
func onlyOne(n, i int) []bool {
	used := make([]bool, n)
	used[i] = true
	return used
}

// demand returns an error if the value of c does not have the type that strategy requires.
func demand(c Candidate, want wire.Type, strategy Strategy) error {
	if have := c.Value.wireType(); have != want {
		return &wire.ValueError{Reason: fmt.Sprintf("%s takes only values of type %s; the entry of %s is of type %s", strategy, typeNames[want], c.Dot, typeNames[have])}
	}
	return nil
}

func greatest(sorted []Candidate) (Value, []bool, error) {
	best := -1
	for i, c := range sorted {
		if err := demand(c, wire.TypeNumber, MaxValue); err != nil {
			return Value{}, nil, err
		}
		// On equal numbers the later writer wins.
		if best < 0 || c.Value.Compare(sorted[best].Value) >= 0 {
			best = i
		}
	}
	return sorted[best].Value, onlyOne(len(sorted), best), nil
}

func unite(sorted []Candidate) (Value, []bool, error) {
	var elements [][]byte
	for _, c := range sorted {
		if err := demand(c, wire.TypeArray, ArrayUnion); err != nil {
			return Value{}, nil, err
		}
		elements = slices.AppendSeq(elements, arrayElements(c.Value.bytes()))
	}
	v, err := RawValue(renderSet(unique(elements)))
	return v, slices.Repeat([]bool{true}, len(sorted)), err
}

// unique sorts elements and removes repeated ones. Elements are canonical, so two equal
// elements have equal bytes.
func unique(elements [][]byte) [][]byte {
	slices.SortFunc(elements, wire.Compare)
	return slices.CompactFunc(elements, bytes.Equal)
}

func askUser(sorted []Candidate, custom Resolver) (Value, []bool, error) {
	siblings := make([]Sibling, len(sorted))
	for i, c := range sorted {
		siblings[i] = Sibling{Value: c.Value, Dot: c.Dot, Stamp: c.Stamp}
	}
	v, err := ResolveSiblings(custom, siblings)
	used := make([]bool, len(sorted))
	for i, c := range sorted {
		used[i] = c.Value == v
	}
	return v, used, err
}

// Resolver makes one value from the siblings of a [Custom] key at each read of the key.
// siblings has two or more elements and is sorted by dot; the Resolver may keep and change
// the slice.
//
// Every peer resolves by itself, so the result must depend on the siblings alone, and not
// on a clock, on randomness or on the order of map iteration. crdttest.CheckResolver looks
// for such faults. The reader gets the Resolver's error or panic; the store is unchanged.
type Resolver func(siblings []Sibling) (Value, error)

// PanicError reports a [Resolver] that panicked.
type PanicError struct {
	Value any    // argument of the panic
	Stack []byte // stack trace of the goroutine
}

// Error gives the value without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("resolver panicked: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ResolveSiblings calls resolve with a sorted copy of siblings and returns its value. It
// returns a single sibling's value without calling resolve. It returns a *PanicError if
// resolve panics, and an error if siblings is empty, resolve is nil or fails, or resolve
// returns an absent Value.
func ResolveSiblings(resolve Resolver, siblings []Sibling) (v Value, err error) {
	switch len(siblings) {
	case 0:
		return Value{}, errors.New("there are no siblings to resolve")
	case 1:
		return siblings[0].Value, nil
	}
	if resolve == nil {
		return Value{}, errors.New("the resolver is missing")
	}
	// The resolver gets a copy because all readers share siblings and it may change them.
	siblings = slices.SortedFunc(slices.Values(siblings), func(a, b Sibling) int {
		return cmp.Or(a.Dot.Compare(b.Dot), cmp.Compare(a.Stamp, b.Stamp), cmp.Compare(a.Value.raw, b.Value.raw))
	})
	defer func() {
		if p := recover(); p != nil {
			v, err = Value{}, &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	v, err = resolve(siblings)
	switch {
	case err != nil:
		return Value{}, fmt.Errorf("resolver: %w", err)
	case v.IsZero():
		return Value{}, errors.New("resolver returned no value; ValueOf(nil) is null")
	}
	return v, nil
}
