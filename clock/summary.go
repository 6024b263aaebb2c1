package clock

import "github.com/sentinel-peer/sentinel-peer/internal/wire"

// A Summary says what a context has seen to somebody who has seen much the same, and
// names few actors for it. Only who has the same sums understands it.
type Summary struct {
	Listed *CausalContext // all that was seen of these actors
	Parts  []Part         // of those that are not listed, up to the end of the last part
}

// Part tells of the actors that are after the part before it, up to UpTo, and not listed:
// the sum of what was seen of them, see [CausalContext.Sum]; 0 for nothing.
type Part struct {
	UpTo Actor
	Sum  uint64
}

const (
	maxParts  = 1 << 12 // of a summary
	spellOut  = 1 << 10 // retired actors of a part that is listed where it differs
	splitInto = 256     // what a larger one is split into, about
	splitFine = 64      // actors of such a part, at least
)

// Summary returns a summary of c: all retired actors as one part, or parts with given
// ends, of which those with the sum 0 have everybody listed.
func (c *CausalContext) Summary(parts []Part) Summary {
	if len(c.blocks) == 0 {
		return Summary{Listed: c}
	}
	if len(parts) == 0 {
		parts = []Part{{c.blocks[len(c.blocks)-1].last(), 1}}
	}
	s := Summary{Listed: NewContext(), Parts: make([]Part, 0, len(parts))}
	list := &CausalContext{actors: c.actors, spans: c.spans}
	var after Actor
	for _, p := range parts {
		from := c
		if p.Sum != 0 {
			from, p.Sum = list, c.blockSum(after, p.UpTo)
		}
		s.Listed.take(from, after, p.UpTo)
		s.Parts = append(s.Parts, p)
		after = p.UpTo
	}
	s.Listed.take(c, after, lastActor)
	return s
}

// take lists what o has seen of actors after one, up to another, who are after all of c.
func (c *CausalContext) take(o *CausalContext, after, upTo Actor) {
	for a, span := range o.between(after, upTo) {
		c.push(a, span)
	}
}

// push lists a, which is after all of c, with a copy of s.
func (c *CausalContext) push(a Actor, s *Span) {
	c.actors, c.spans = append(c.actors, a), append(c.spans, s.Clone())
}

// sumBeside is the sum of c for the actors after one, up to another, that are not listed.
func (c *CausalContext) sumBeside(listed *CausalContext, after, upTo Actor) uint64 {
	sum := c.blockSum(after, upTo) + c.listedSum(after, upTo)
	for a := range listed.between(after, upTo) {
		if s := c.Span(a); s != nil {
			sum -= s.share(a)
		}
	}
	return sum
}

// Resolve returns the context that s is a summary of. It fails if c differs from it in
// what is not listed: see Refine.
func (c *CausalContext) Resolve(s Summary) (*CausalContext, bool) {
	summed := false
	var after Actor
	for _, p := range s.Parts {
		if p.Sum != 0 && p.Sum != c.sumBeside(s.Listed, after, p.UpTo) {
			return nil, false
		}
		summed = summed || p.Sum != 0
		after = p.UpTo
	}
	if !summed {
		return s.Listed, true
	}
	out := &CausalContext{blocks: c.summed(s.Parts)}
	after = Actor{}
	for _, p := range append(s.Parts[:len(s.Parts):len(s.Parts)], Part{UpTo: lastActor}) {
		if p.Sum != 0 {
			out.replace(c, s.Listed, after, p.UpTo)
		} else {
			for a, both := range out.rest(after, p.UpTo).against(s.Listed, after, p.UpTo) {
				out.push(a, both.Theirs) // nothing, for who is not listed
			}
		}
		after = p.UpTo
	}
	return out, true
}

// replace lists those whom o lists, and else those of from, of the actors after one, up to
// another, who are after all that c lists.
func (c *CausalContext) replace(from, o *CausalContext, after, upTo Actor) {
	list := &CausalContext{actors: from.actors, spans: from.spans}
	for a, both := range list.against(o, after, upTo) {
		if _, named := o.find(a); named {
			c.push(a, both.Theirs)
		} else {
			c.push(a, both.Mine)
		}
	}
}

// Replaced returns c with what o lists in place of what c has seen of the same actors.
func (c *CausalContext) Replaced(o *CausalContext) *CausalContext {
	out := &CausalContext{blocks: c.blocks}
	out.replace(c, o, Actor{}, lastActor)
	return out
}

// rest is the blocks of c, for the actors after one, up to another.
func (c *CausalContext) rest(after, upTo Actor) *CausalContext {
	r := new(CausalContext)
	for _, b := range c.blocks {
		if b.last().Compare(after) > 0 && b.actors[0].Compare(upTo) <= 0 {
			r.blocks = append(r.blocks, b)
		}
	}
	return r
}

// summed returns the blocks of c with actors of parts that have a sum.
func (c *CausalContext) summed(parts []Part) (blocks []*block) {
	for _, b := range c.blocks {
		var after Actor
		for _, p := range parts {
			if p.Sum != 0 && b.last().Compare(after) > 0 && b.actors[0].Compare(p.UpTo) <= 0 {
				blocks = append(blocks, b)
				break
			}
			after = p.UpTo
		}
	}
	return blocks
}

// Refine answers a summary that c cannot resolve: with the parts that differ split, and
// the sums of c for each.
func (c *CausalContext) Refine(s Summary) []Part {
	differ := 0
	sums := make([]uint64, len(s.Parts))
	var after Actor
	for i, p := range s.Parts {
		if sums[i] = c.sumBeside(s.Listed, after, p.UpTo); p.Sum != 0 && p.Sum != sums[i] {
			differ++
		}
		after = p.UpTo
	}
	var parts []Part
	after = Actor{}
	for i, p := range s.Parts {
		if p.Sum == 0 || p.Sum == sums[i] {
			parts = append(parts, p)
		} else {
			parts = c.split(parts, s.Listed, after, p.UpTo, max(splitInto/differ, 2))
		}
		after = p.UpTo
	}
	return parts
}

// split appends about n parts for the actors after one, up to another, that are not listed.
func (c *CausalContext) split(parts []Part, listed *CausalContext, after, upTo Actor, n int) []Part {
	var ends []Part // with the share of each alone
	for a, span := range c.between(after, upTo) {
		if _, named := listed.find(a); !named {
			ends = append(ends, Part{a, span.share(a)})
		}
	}
	step := max((len(ends)+n-1)/n, splitFine)
	for len(ends) > step {
		part := Part{UpTo: ends[step-1].UpTo}
		for _, e := range ends[:step] {
			part.Sum += e.Sum
		}
		parts, ends = append(parts, part), ends[step:]
	}
	last := Part{UpTo: upTo}
	for _, e := range ends {
		last.Sum += e.Sum
	}
	return append(parts, last)
}

// Spell returns the parts for the next summary of c, when somebody who did not understand
// the last has answered with theirs.
func (c *CausalContext) Spell(theirs []Part) (parts []Part) {
	var after Actor
	agreed := false // on the last of parts
	for _, p := range theirs {
		agree := p.Sum != 0 && p.Sum == c.blockSum(after, p.UpTo)
		if !agree && (c.blockCount(after, p.UpTo) <= spellOut || len(theirs) > maxParts/4) {
			p.Sum = 0
		}
		after = p.UpTo
		if n := len(parts); n > 0 && (agree && agreed || p.Sum == 0 && parts[n-1].Sum == 0) {
			parts[n-1].UpTo = p.UpTo
			continue
		}
		parts, agreed = append(parts, p), agree
	}
	return parts
}

// blockCount counts the retired actors after one, up to another.
func (c *CausalContext) blockCount(after, upTo Actor) (n int) {
	for _, b := range c.blocks {
		if b.last().Compare(after) > 0 && b.actors[0].Compare(upTo) <= 0 {
			n += b.upTo(upTo) - b.upTo(after)
		}
	}
	return n
}

// AppendParts appends parts as an array [actor, sum, actor, sum, …].
func AppendParts(dst []byte, parts []Part) []byte {
	dst = wire.AppendArray(dst, 2*len(parts))
	for _, p := range parts {
		dst = AppendActor(dst, p.UpTo)
		dst = wire.AppendUint(dst, p.Sum)
	}
	return dst
}

// ReadParts reads what AppendParts writes, with ends that rise.
func ReadParts(r *wire.Reader) []Part {
	n := r.ArrayLen()
	if n%2 != 0 || n/2 > maxParts {
		r.Fail("parts")
	}
	var parts []Part
	for i := 0; i < n/2 && r.Err() == nil; i++ {
		p := Part{ReadActor(r), r.Uint()}
		if i > 0 && parts[i-1].UpTo.Compare(p.UpTo) >= 0 {
			r.Fail("parts")
		}
		parts = append(parts, p)
	}
	return parts
}
