package clock

import (
	"maps"
	"slices"
)

// Order is the causal relation of two clocks.
type Order uint8

// The four relations of two clocks.
const (
	Before     Order = iota + 1 // strictly less: happened before
	After                       // strictly greater
	Equal                       // the same
	Concurrent                  // each has seen an event that the other has not
)

// String returns the lower-case name of o.
func (o Order) String() string {
	switch o {
	case Before:
		return "before"
	case After:
		return "after"
	case Equal:
		return "equal"
	case Concurrent:
		return "concurrent"
	}
	return "unknown"
}

// order returns the Order of a to b, where covers says that a covers b, and covered that b
// covers a.
func order(covers, covered bool) Order {
	switch {
	case covers && covered:
		return Equal
	case covers:
		return After
	case covered:
		return Before
	}
	return Concurrent
}

// Vector is a vector clock: for each actor the number of its events that are known, 0 if the
// actor is absent. The nil Vector is empty and may be read.
type Vector map[Actor]uint64

// Get returns the entry of a, 0 if absent.
func (v Vector) Get(a Actor) uint64 { return v[a] }

// Increment counts one more event of a and returns the new entry.
func (v Vector) Increment(a Actor) uint64 {
	v[a]++
	return v[a]
}

// Update raises each entry of v to that of o, so that v becomes the join of both.
func (v Vector) Update(o Vector) {
	for a, n := range o {
		if n > v[a] {
			v[a] = n
		}
	}
}

// Descends reports whether v includes every event that o includes.
func (v Vector) Descends(o Vector) bool {
	for a, n := range o {
		if n > v[a] {
			return false
		}
	}
	return true
}

// Compare returns how v relates to o: v is Before, After, Equal or Concurrent.
func (v Vector) Compare(o Vector) Order { return order(v.Descends(o), o.Descends(v)) }

// Clone returns a copy, never nil.
func (v Vector) Clone() Vector {
	c := make(Vector, len(v))
	maps.Copy(c, v)
	return c
}

// Actors returns the actors of v, sorted.
func (v Vector) Actors() []Actor { return slices.SortedFunc(maps.Keys(v), Actor.Compare) }
