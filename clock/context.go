package clock

import (
	"iter"
	"math"
	"slices"
)

// CausalContext is the set of dots that a replica has seen, as a Span for each actor. Actors that
// may still write are listed; the others may be retired, see [CausalContext.Retire].
// A context is not safe for concurrent use.
type CausalContext struct {
	actors []Actor // the listed actors, sorted
	spans  []*Span // spans[i] belongs to actors[i]
	// blocks holds the retired actors in order of their names. An actor may be in a block
	// and in the list; then the span in the list counts.
	blocks []*block
}

// NewContext returns an empty context.
func NewContext() *CausalContext { return new(CausalContext) }

// find returns the index of a in the list, or the index at which a would be inserted.
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

// Span returns what has been seen of a, nil if nothing. The span may belong to c: the
// caller must not change it, and may read it only until c changes.
func (c *CausalContext) Span(a Actor) *Span {
	if i, ok := c.find(a); ok {
		return c.spans[i]
	}
	if b, i, ok := c.retiredAt(a); ok {
		return b.span(i, new(Span))
	}
	return nil
}

// Ensure lists a, if it is not listed yet, and returns its span, which belongs to c: a
// change of the span changes c.
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

// Join adds every dot of o to c. It neither changes nor keeps o.
func (c *CausalContext) Join(o *CausalContext) {
	for a, span := range o.Beyond(c).All() {
		c.Ensure(a).Join(span)
	}
}

// Covers reports whether c contains every dot of o.
func (c *CausalContext) Covers(o *CausalContext) bool {
	_, others := unshared(c.blocks, o.blocks)
	for _, both := range merge(c, nil, o, others, Actor{}, lastActor) {
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

// Clone returns a copy. A change of the copy does not change c, nor the other way round;
// both share the blocks, which never change.
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

// Listed returns the actors that are not retired, sorted. The slice belongs to c: the
// caller may only read it, and only until c changes.
func (c *CausalContext) Listed() []Actor { return c.actors }

// All ranges over the actors of c in order, with what was seen of each. A span may be read
// until the next iteration. The loop must not change c.
func (c *CausalContext) All() iter.Seq2[Actor, *Span] {
	return c.between(Actor{}, lastActor)
}

// between ranges like All, over the actors in (after, upTo].
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

// Both holds the spans of one actor in two contexts. Neither span is nil.
type Both struct{ Mine, Theirs *Span }

// Against ranges in order over the actors of which c and o may have seen different dots: all
// actors but those in blocks that both contexts share. The spans may be read until the
// next iteration. The loop must change neither context.
func (c *CausalContext) Against(o *CausalContext) iter.Seq2[Actor, Both] {
	return c.against(o, Actor{}, lastActor)
}

// against ranges like Against, over the actors in (after, upTo].
func (c *CausalContext) against(o *CausalContext, after, upTo Actor) iter.Seq2[Actor, Both] {
	own, others := unshared(c.blocks, o.blocks)
	return merge(c, own, o, others, after, upTo)
}

// merge ranges like against, over the actors that c or o lists and those in the given blocks
// of either.
func merge(c *CausalContext, own []*block, o *CausalContext, others []*block, after, upTo Actor) iter.Seq2[Actor, Both] {
	return func(yield func(Actor, Both) bool) {
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

// cursor merges a context's list and some of its blocks in the order of the actors.
type cursor struct {
	c      *CausalContext
	listed int      // index of the next listed actor
	blocks []*block // the blocks that are left
	at     int      // index of the next actor in blocks[0]
	span   Span     // memory of the span that take returned last
}

// newCursor returns a cursor over the actors after the given one.
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

// next returns the next actor and does not advance; ok is false at the end.
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

// take returns what was seen of a and advances past it. The actor a must not come after the
// one that next returns. The span is good until the next call.
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

// unshared returns the blocks of a that b has not, and the other way round. Blocks are
// compared by pointer: copies of a context share them.
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

// Beyond returns a new context with all that c has seen of each actor of which it has seen
// a dot that o has not.
func (c *CausalContext) Beyond(o *CausalContext) *CausalContext {
	n, _ := c.FirstBeyond(o, math.MaxInt, math.MaxInt)
	return n
}

// FirstBeyond is Beyond for the first actors in order: at most most of them, and after the
// first one only as long as they have at most ranges ranges together. It reports whether
// these are all.
func (c *CausalContext) FirstBeyond(o *CausalContext, most, ranges int) (n *CausalContext, all bool) {
	n = NewContext()
	own, _ := unshared(c.blocks, o.blocks)
	for a, both := range merge(c, own, o, nil, Actor{}, lastActor) {
		if both.Theirs.Covers(both.Mine) {
			continue
		}
		if ranges -= len(both.Mine.Ranges); len(n.actors) == most || ranges < 0 && len(n.actors) > 0 {
			return n, false
		}
		n.push(a, both.Mine)
	}
	return n, true
}

// Differs returns a new context with all that c has seen, possibly nothing, of each actor of
// which c and o have seen different dots.
func (c *CausalContext) Differs(o *CausalContext) *CausalContext {
	n := NewContext()
	for a, both := range c.Against(o) {
		if !both.Mine.Equal(both.Theirs) {
			n.push(a, both.Mine)
		}
	}
	return n
}
