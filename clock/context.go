package clock

import (
	"iter"
	"slices"
)

// CausalContext is the set of dots a replica has seen: a Span for each actor. Those of
// whom something new may come are listed; the others may be retired, see Retire.
type CausalContext struct {
	actors []Actor  // listed, sorted
	spans  []*Span  // of each
	blocks []*block // the retired ones, in order; who is listed as well is as the list says
}

// NewContext returns an empty context.
func NewContext() *CausalContext { return new(CausalContext) }

// find returns where a is in the list, or belongs.
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

// Span returns what has been seen of a, nil if nothing. The caller reads the span,
// which may be live, and must not change it.
func (c *CausalContext) Span(a Actor) *Span {
	if i, ok := c.find(a); ok {
		return c.spans[i]
	}
	if b, i, ok := c.retiredAt(a); ok {
		return b.span(i, new(Span))
	}
	return nil
}

// Ensure returns the live span of a, made if absent: a is listed from then on. Changes
// to it change c.
func (c *CausalContext) Ensure(a Actor) *Span {
	i, ok := c.find(a)
	if !ok {
		s := new(Span)
		if was := c.retired(a, s); was != nil {
			s.Ranges = slices.Clone(was.Ranges)
		}
		c.insert(i, a, s)
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
	for a, span := range o.Beyond(c).All() {
		c.Ensure(a).Join(span)
	}
}

// Covers reports whether c has seen everything o has.
func (c *CausalContext) Covers(o *CausalContext) bool {
	for _, both := range c.Against(o) {
		if !both.Mine.Covers(both.Theirs) {
			return false
		}
	}
	return true
}

// Compare returns how c relates to o.
func (c *CausalContext) Compare(o *CausalContext) Order { return order(c.Covers(o), o.Covers(c)) }

// Equal reports whether both have seen the same dots.
func (c *CausalContext) Equal(o *CausalContext) bool {
	for _, both := range c.Against(o) {
		if !both.Mine.Equal(both.Theirs) {
			return false
		}
	}
	return true
}

// Clone returns a copy: what is done to it does not change c, nor the other way round.
func (c *CausalContext) Clone() *CausalContext {
	n := &CausalContext{actors: slices.Clone(c.actors), spans: make([]*Span, len(c.spans)), blocks: c.blocks}
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
	for a, s := range c.All() {
		if s.Base > 0 {
			v[a] = s.Base
		}
	}
	return v
}

// Listed returns the actors that are not retired, sorted. The list is c's own: it is to
// be read, and only until c changes.
func (c *CausalContext) Listed() []Actor { return c.actors }

// All ranges over the actors of c, sorted, and what was seen of each: spans to be read,
// and only until the next. c must not change meanwhile.
func (c *CausalContext) All() iter.Seq2[Actor, *Span] {
	return c.between(Actor{}, lastActor)
}

// between is All for the actors after one, up to another.
func (c *CausalContext) between(after, upTo Actor) iter.Seq2[Actor, *Span] {
	return func(yield func(Actor, *Span) bool) {
		for a, both := range c.against(new(CausalContext), after, upTo) {
			if !yield(a, both.Mine) {
				return
			}
		}
	}
}

// Len returns how many actors c knows.
func (c *CausalContext) Len() int { return len(c.actors) + c.Retired() }

// Both is what two contexts have seen of one actor; never nil.
type Both struct{ Mine, Theirs *Span }

// Against ranges over the actors of whom c and o may have seen different dots, sorted,
// all but those of blocks that they share. The spans are to be read, and only until
// the next; neither context may change meanwhile.
func (c *CausalContext) Against(o *CausalContext) iter.Seq2[Actor, Both] {
	return c.against(o, Actor{}, lastActor)
}

// against is Against for the actors after one, up to another.
func (c *CausalContext) against(o *CausalContext, after, upTo Actor) iter.Seq2[Actor, Both] {
	return func(yield func(Actor, Both) bool) {
		own, others := unshared(c.blocks, o.blocks)
		mine, theirs := newCursor(c, own, after), newCursor(o, others, after)
		for {
			a, ok := mine.next()
			b, more := theirs.next()
			if !ok || more && b.Compare(a) < 0 {
				a, ok = b, more
			}
			if !ok || a.Compare(upTo) > 0 || !yield(a, Both{mine.take(a), theirs.take(a)}) {
				return
			}
		}
	}
}

// cursor goes over a context's list and some of its blocks.
type cursor struct {
	c      *CausalContext
	listed int
	blocks []*block
	at     int // in the first of them
	span   Span
}

// newCursor returns one that begins after an actor.
func newCursor(c *CausalContext, blocks []*block, after Actor) *cursor {
	for len(blocks) > 0 && blocks[0].last().Compare(after) <= 0 {
		blocks = blocks[1:]
	}
	r := &cursor{c: c, listed: c.listedFrom(after), blocks: blocks}
	if len(blocks) > 0 {
		r.at = blocks[0].upTo(after)
	}
	return r
}

// next returns the first actor that was not taken.
func (r *cursor) next() (a Actor, ok bool) {
	if r.listed < len(r.c.actors) {
		a, ok = r.c.actors[r.listed], true
	}
	if len(r.blocks) > 0 {
		if b := r.blocks[0].actors[r.at]; !ok || b.Compare(a) < 0 {
			return b, true
		}
	}
	return a, ok
}

// take returns what was seen of a, which is not after next, and goes beyond it.
func (r *cursor) take(a Actor) *Span {
	var found *Span
	if len(r.blocks) > 0 && r.blocks[0].actors[r.at] == a {
		found = r.blocks[0].span(r.at, &r.span)
		if r.at++; r.at == len(r.blocks[0].actors) {
			r.blocks, r.at = r.blocks[1:], 0
		}
	}
	if r.listed < len(r.c.actors) && r.c.actors[r.listed] == a {
		found = r.c.spans[r.listed]
		r.listed++
	}
	if found == nil {
		found = r.c.retired(a, &r.span)
	}
	if found == nil {
		r.span = Span{}
		found = &r.span
	}
	return found
}

// unshared returns the blocks that only one of two contexts has.
func unshared(a, b []*block) (onlyA, onlyB []*block) {
	if len(b) == 0 {
		return a, nil
	}
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0].actors[0].Compare(b[0].actors[0]) <= 0:
			onlyA, a = append(onlyA, a[0]), a[1:]
		default:
			onlyB, b = append(onlyB, b[0]), b[1:]
		}
	}
	return append(onlyA, a...), append(onlyB, b...)
}

// Beyond returns, of each actor of whom c has seen what o has not, what c has seen.
func (c *CausalContext) Beyond(o *CausalContext) *CausalContext {
	n := NewContext()
	for a, both := range c.Against(o) {
		if !both.Theirs.Covers(both.Mine) {
			n.push(a, both.Mine)
		}
	}
	return n
}

// Differs returns, of each actor of whom c has seen other dots than o, what c has seen,
// which may be nothing.
func (c *CausalContext) Differs(o *CausalContext) *CausalContext {
	n := NewContext()
	for a, both := range c.Against(o) {
		if !both.Mine.Equal(both.Theirs) {
			n.push(a, both.Mine)
		}
	}
	return n
}
