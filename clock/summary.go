package clock

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// A Summary describes a context to a peer whose own context is nearly the same. It names the
// listed actors, and covers the others by a hash for each range of actors. The receiver
// resolves it (Resolve) if its own hashes are the same. If not, it answers with smaller
// ranges (Refine), the sender chooses what to list in full (Spell), and sends a summary
// with these parts.
type Summary struct {
	Listed *CausalContext // actors with all that was seen of them
	Parts  []Part         // ranges of actors in order, which cover every actor that is not listed
}

// Part is the range of actors after the UpTo of the part before it, up to its own UpTo.
type Part struct {
	UpTo Actor
	// Sum is [CausalContext.Sum] over the actors of the range that are not listed; 0 says
	// that nothing was seen of them. In an argument of Summary any other number stands for a
	// sum that Summary computes.
	Sum uint64
}

// Summed is the Sum of a part, given to Summary, whose actors are to be summed and not listed.
const Summed = 1

const (
	maxParts  = 1 << 12 // greatest number of parts of a summary
	splitInto = 256     // about how many parts take the place of those that differ
	splitFine = 64      // least number of actors of a part that was split off
)

// Summary returns a summary of c. Without parts all retired actors are one range. Otherwise
// the given parts set the ranges: actors of a part with Sum 0 are all listed, and the
// other parts get the sums of c.
func (c *CausalContext) Summary(parts []Part) Summary {
	if len(c.blocks) == 0 {
		return Summary{Listed: c}
	}
	if len(parts) == 0 {
		parts = []Part{{c.blocks[len(c.blocks)-1].last(), Summed}}
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

// take lists in c what o has seen of the actors in (after, upTo], which come after all that c
// lists.
func (c *CausalContext) take(o *CausalContext, after, upTo Actor) {
	for a, span := range o.between(after, upTo) {
		c.push(a, span)
	}
}

// push lists a with a copy of s. The actor a must come after all that c lists.
func (c *CausalContext) push(a Actor, s *Span) {
	c.actors, c.spans = append(c.actors, a), append(c.spans, s.Clone())
}

// sumBeside adds up the shares of c's actors in (after, upTo] that are not in listed.
func (c *CausalContext) sumBeside(listed *CausalContext, after, upTo Actor) uint64 {
	sum := c.blockSum(after, upTo) + c.listedSum(after, upTo)
	for a := range listed.between(after, upTo) {
		if s := c.Span(a); s != nil {
			sum -= s.share(a)
		}
	}
	return sum
}

// Resolve returns the context that s describes, made from what s lists and from c. It returns
// false if a sum of s differs from that of c; then Refine makes the answer. The result may be
// s.Listed itself.
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
				out.push(a, both.Theirs) // an empty span hides a retired actor that s does not list
			}
		}
		after = p.UpTo
	}
	return out, true
}

// replace lists in c the actors in (after, upTo] that o or from lists, with the span of o where
// both do. These actors must come after all that c lists.
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

// Replaced returns a new context that has seen, of each actor that o lists, what o has seen, and
// of all others what c has seen.
func (c *CausalContext) Replaced(o *CausalContext) *CausalContext {
	out := &CausalContext{blocks: c.blocks}
	out.replace(c, o, Actor{}, lastActor)
	return out
}

// rest returns a context of only those blocks of c that hold actors in (after, upTo].
func (c *CausalContext) rest(after, upTo Actor) *CausalContext {
	r := new(CausalContext)
	for _, b := range c.blocks {
		if b.last().Compare(after) > 0 && b.actors[0].Compare(upTo) <= 0 {
			r.blocks = append(r.blocks, b)
		}
	}
	return r
}

// summed returns the blocks of c that hold actors in the range of a part whose Sum is not 0.
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

// Refine returns the answer to a summary that c cannot resolve: the parts of s on which c
// agrees, and in place of each other part smaller ones with the sums of c.
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

// split appends to parts at most about n parts of splitFine actors or more, which divide the
// actors in (after, upTo] that are not in listed.
func (c *CausalContext) split(parts []Part, listed *CausalContext, after, upTo Actor, n int) []Part {
	var ends []Part // a part of its own for each actor
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

// Spell returns the parts for the next summary of c, given the parts of the last one and
// those with which the receiver answered it (Refine). A differing part in which c has at most
// most retired actors is to be listed in full, one that was listed stays so, and
// so is every differing part once there are too many for another step to help. Parts next
// to each other that both agree, or are both listed, become one. named is how many retired
// actors are to be listed; left says that differing parts stay which are not.
func (c *CausalContext) Spell(asked, theirs []Part, most int) (parts []Part, named int, left bool) {
	var after Actor
	agreed := false // whether both peers agree on parts[len(parts)-1]
	for _, p := range theirs {
		agree := p.Sum != 0 && p.Sum == c.blockSum(after, p.UpTo)
		if count := c.blockCount(after, p.UpTo); !agree {
			if count <= most || len(theirs) > maxParts/4 || slices.Contains(asked, Part{p.UpTo, 0}) {
				p.Sum, named = 0, named+count
			} else {
				p.Sum, left = Summed, true // the receiver may have none, and then its sum is 0
			}
		}
		after = p.UpTo
		if n := len(parts); n > 0 && (agree && agreed || p.Sum == 0 && parts[n-1].Sum == 0) {
			parts[n-1].UpTo = p.UpTo
			continue
		}
		parts, agreed = append(parts, p), agree
	}
	return parts, named, left
}

// blockCount counts the retired actors in (after, upTo].
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

// ReadParts reads what AppendParts writes. It fails r on more than maxParts parts, and on parts
// whose ends do not rise.
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
