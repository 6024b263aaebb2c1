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

// Strategy names a way to make one value of several.
type Strategy string

// The strategies of [Resolve]. They decide as the kinds of a key do.
const (
	LastWriteWins  Strategy = "last-write-wins" // the latest value, as a Register
	ArrayUnion     Strategy = "array-union"     // every element once, sorted, as a Set
	ObjectMerge    Strategy = "object-merge"    // each leaf by its latest writer, as an Object
	MaxValue       Strategy = "max-value"       // the greatest number, as a Max
	CustomStrategy Strategy = "custom"          // what the user's Resolver returns
)

// Candidate is one of the values that [Resolve] chooses from. An absent Value is
// a delete, which only LastWriteWins understands. Candidates compare with ==.
type Candidate struct {
	Value Value
	Stamp clock.Timestamp
	Dot   clock.Dot
}

// compare is the total order in which candidates win: by stamp, then by dot. Two
// candidates with one dot are one write; should their values differ all the same,
// the values decide, so that the order of the arguments never does.
func (c Candidate) compare(o Candidate) int {
	return cmp.Or(cmp.Compare(c.Stamp, o.Stamp), c.Dot.Compare(o.Dot), cmp.Compare(c.Value.raw, o.Value.raw))
}

// Resolution is what [Resolve] decided.
type Resolution struct {
	Value     Value // absent if the latest candidate of LastWriteWins is a delete
	Strategy  Strategy
	Discarded []Candidate // those that left nothing in Value, earliest first
}

// Resolve makes one value of entries. The result depends on the set of entries
// alone: not on their order, nor on how often each is given. custom is used by
// CustomStrategy only, and sees the entries sorted by dot.
//
// ObjectMerge merges deeply and leaf by leaf, as if the entries were patches
// applied in the order of their stamps: arrays unite, null removes, and of a leaf
// and a map at one place the later shows. Its result has many stamps, so to
// resolve in steps keep the entries: no single stamp for a merged object is
// associative.
//
// Resolve fails with a *wire.ValueError if an entry has not the type that the
// strategy is for, or if the result is over the limits of a Value.
func Resolve(entries []Candidate, strategy Strategy, custom Resolver) (Resolution, error) {
	if len(entries) == 0 {
		return Resolution{}, errors.New("resolve: there are no entries")
	}
	sorted := slices.SortedFunc(slices.Values(entries), Candidate.compare)
	sorted = slices.Compact(sorted)
	var value Value
	var used []bool // by sorted: left something in value
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

func onlyOne(n, i int) []bool {
	used := make([]bool, n)
	used[i] = true
	return used
}

// demand refuses a candidate that a strategy is not for.
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

// unique sorts elements and drops the repeated. Elements are canonical, so equal
// ones are equal bytes.
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

// Resolver makes one value of the siblings of a [Custom] key, whenever it is
// read. siblings are two or more, sorted by dot, and the Resolver's to keep.
//
// Every peer resolves for itself, so the result must follow from the siblings
// alone: no clock, no randomness, no order of map iteration. crdttest.CheckResolver
// looks for such faults. An error or a panic reaches the reader and changes nothing.
type Resolver func(siblings []Sibling) (Value, error)

// PanicError reports a [Resolver] that panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // where
}

// Error names the value without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("resolver panicked: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ResolveSiblings returns what resolve makes of siblings. A value without a rival
// is returned as it is. A resolver that panics fails with a *PanicError. siblings
// are not changed; they may come in any order.
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
	// A copy: siblings are shared by all readers, and a resolver may sort them.
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
