package clock

import (
	"maps"
	"slices"
)

// CausalContext is the set of dots a replica has seen: a Span for each actor.
type CausalContext struct{ spans map[Actor]*Span }

// NewContext returns an empty context.
func NewContext() *CausalContext { return &CausalContext{spans: make(map[Actor]*Span)} }

// Span returns what has been seen of a, nil if nothing. The caller reads the
// live span and must not change it.
func (c *CausalContext) Span(a Actor) *Span { return c.spans[a] }

// Ensure returns the live span of a, made if absent. Changes to it change c.
func (c *CausalContext) Ensure(a Actor) *Span {
	s := c.spans[a]
	if s == nil {
		s = new(Span)
		c.spans[a] = s
	}
	return s
}

// Contains reports whether d has been seen.
func (c *CausalContext) Contains(d Dot) bool {
	s := c.spans[d.Actor]
	return s != nil && s.Contains(d.Seq)
}

// Add marks d as seen and reports whether it was new.
func (c *CausalContext) Add(d Dot) bool { return c.Ensure(d.Actor).Add(d.Seq) }

// AddRange marks first..last of a as seen.
func (c *CausalContext) AddRange(a Actor, first, last uint64) { c.Ensure(a).AddRange(first, last) }

// Join adds everything o has seen. o is not changed and not kept.
func (c *CausalContext) Join(o *CausalContext) {
	for a, s := range o.spans {
		c.Ensure(a).Join(s)
	}
}

// Covers reports whether c has seen everything o has.
func (c *CausalContext) Covers(o *CausalContext) bool {
	var none Span
	for a, s := range o.spans {
		mine := c.spans[a]
		if mine == nil {
			mine = &none
		}
		if !mine.Covers(s) {
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
	n := NewContext()
	for a, s := range c.spans {
		n.spans[a] = s.Clone()
	}
	return n
}

// Vector returns the contiguous part of c: each actor's Base.
func (c *CausalContext) Vector() Vector {
	v := make(Vector, len(c.spans))
	for a, s := range c.spans {
		if s.Base > 0 {
			v[a] = s.Base
		}
	}
	return v
}

// Actors returns the actors of c, sorted.
func (c *CausalContext) Actors() []Actor { return slices.SortedFunc(maps.Keys(c.spans), Actor.Compare) }

// Len returns how many actors c knows.
func (c *CausalContext) Len() int { return len(c.spans) }
