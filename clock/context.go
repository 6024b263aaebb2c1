package clock

import (
	"iter"
	"slices"
)

// CausalContext is the set of dots a replica has seen: a Span for each actor.
type CausalContext struct {
	actors []Actor // sorted
	spans  []*Span // of each
}

// NewContext returns an empty context.
func NewContext() *CausalContext { return new(CausalContext) }

// find returns where a is, or belongs.
func (c *CausalContext) find(a Actor) (int, bool) {
	lo, hi := 0, len(c.actors)
	for lo < hi {
		switch mid := int(uint(lo+hi) >> 1); c.actors[mid].Compare(a) {
		case 0:
			return mid, true
		case -1:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false
}

// Span returns what has been seen of a, nil if nothing. The caller reads the
// live span and must not change it.
func (c *CausalContext) Span(a Actor) *Span {
	if i, ok := c.find(a); ok {
		return c.spans[i]
	}
	return nil
}

// Ensure returns the live span of a, made if absent. Changes to it change c.
func (c *CausalContext) Ensure(a Actor) *Span {
	i, ok := c.find(a)
	if !ok {
		c.insert(i, a, new(Span))
	}
	return c.spans[i]
}

func (c *CausalContext) insert(i int, a Actor, s *Span) {
	c.actors = slices.Insert(c.actors, i, a)
	c.spans = slices.Insert(c.spans, i, s)
}

// Contains reports whether d has been seen.
func (c *CausalContext) Contains(d Dot) bool {
	s := c.Span(d.Actor)
	return s != nil && s.Contains(d.Seq)
}

// Add marks d as seen and reports whether it was new.
func (c *CausalContext) Add(d Dot) bool { return c.Ensure(d.Actor).Add(d.Seq) }

// AddRange marks first..last of a as seen.
func (c *CausalContext) AddRange(a Actor, first, last uint64) { c.Ensure(a).AddRange(first, last) }

// Join adds everything o has seen. o is not changed and not kept.
func (c *CausalContext) Join(o *CausalContext) {
	for i, a := range o.actors {
		c.Ensure(a).Join(o.spans[i])
	}
}

// Covers reports whether c has seen everything o has.
func (c *CausalContext) Covers(o *CausalContext) bool {
	var none Span
	at := 0
	for i, a := range o.actors {
		for at < len(c.actors) && c.actors[at].Compare(a) < 0 {
			at++
		}
		mine := &none
		if at < len(c.actors) && c.actors[at] == a {
			mine = c.spans[at]
		}
		if !mine.Covers(o.spans[i]) {
			return false
		}
	}
	return true
}

// Compare returns how c relates to o.
func (c *CausalContext) Compare(o *CausalContext) Order { return order(c.Covers(o), o.Covers(c)) }

// Equal reports whether both have seen the same dots.
func (c *CausalContext) Equal(o *CausalContext) bool { return c.Covers(o) && o.Covers(c) }

// Clone returns a copy that shares nothing with c.
func (c *CausalContext) Clone() *CausalContext {
	n := &CausalContext{actors: slices.Clone(c.actors), spans: make([]*Span, len(c.spans))}
	copies := make([]Span, len(c.spans))
	for i, s := range c.spans {
		copies[i] = Span{Base: s.Base, Ranges: slices.Clone(s.Ranges)}
		n.spans[i] = &copies[i]
	}
	return n
}

// Vector returns the contiguous part of c: each actor's Base.
func (c *CausalContext) Vector() Vector {
	v := make(Vector, len(c.spans))
	for i, s := range c.spans {
		if s.Base > 0 {
			v[c.actors[i]] = s.Base
		}
	}
	return v
}

// Actors returns the actors of c, sorted. The list is c's own: it is to be read, and
// only until c changes.
func (c *CausalContext) Actors() []Actor { return c.actors }

// All ranges over the actors of c, sorted, and the live spans of each. c must not
// change meanwhile.
func (c *CausalContext) All() iter.Seq2[Actor, *Span] {
	return func(yield func(Actor, *Span) bool) {
		for i, a := range c.actors {
			if !yield(a, c.spans[i]) {
				return
			}
		}
	}
}

// Len returns how many actors c knows.
func (c *CausalContext) Len() int { return len(c.actors) }
