package clock

import (
	"slices"
	"sort"
)

// blockActors is the greatest number of retired actors in a block.
const blockActors = 1024

// A block holds a run of the retired actors of a context. It never changes once it is made,
// so that copies of a context can share it.
type block struct {
	actors []Actor           // sorted
	bases  []uint64          // bases[i] is the Base of actors[i]'s span
	ranges map[Actor][]Range // the Ranges of the spans that have any
	sums   []uint64          // sums[i] adds up the shares of actors[:i], modulo 2^64
}

func (b *block) last() Actor { return b.actors[len(b.actors)-1] }

// span sets s to the span of the i-th actor and returns s. The ranges belong to the block.
func (b *block) span(i int, s *Span) *Span {
	s.Base, s.Ranges = b.bases[i], b.ranges[b.actors[i]]
	return s
}

// upTo returns how many of the block's actors are a or come before it.
func (b *block) upTo(a Actor) int {
	return sort.Search(len(b.actors), func(i int) bool { return b.actors[i].Compare(a) > 0 })
}

// newBlocks cuts sorted entries into blocks. It splits a remainder in two rather than leave a
// small block at the end.
func newBlocks(list []entry) (blocks []*block) {
	for len(list) > 0 {
		n := min(blockActors, len(list))
		if rest := len(list) - n; rest > 0 && rest < blockActors/2 {
			n = len(list) / 2
		}
		b := &block{sums: make([]uint64, 1, n+1), actors: make([]Actor, 0, n), bases: make([]uint64, 0, n)}
		for _, e := range list[:n] {
			b.actors, b.bases = append(b.actors, e.actor), append(b.bases, e.span.Base)
			b.sums = append(b.sums, b.sums[len(b.sums)-1]+e.span.share(e.actor))
			if len(e.span.Ranges) > 0 {
				if b.ranges == nil {
					b.ranges = make(map[Actor][]Range)
				}
				b.ranges[e.actor] = slices.Clone(e.span.Ranges)
			}
		}
		blocks, list = append(blocks, b), list[n:]
	}
	return blocks
}

// entry is an actor with the span that was seen of it.
type entry struct {
	actor Actor
	span  Span
}

// Retire moves the listed actors for which rests returns true from the list of c to its
// blocks, and returns them in order. What c has seen stays the same. A retired actor may be
// listed again by Ensure.
func (c *CausalContext) Retire(rests func(Actor) bool) (retired []Actor) {
	var fresh []entry
	n := 0
	for i, a := range c.actors {
		if rests(a) {
			retired = append(retired, a)
			fresh = append(fresh, entry{a, *c.spans[i]})
			continue
		}
		c.actors[n], c.spans[n] = a, c.spans[i]
		n++
	}
	if len(fresh) == 0 {
		return nil
	}
	clear(c.spans[n:])
	c.actors, c.spans = c.actors[:n], c.spans[:n]
	var blocks []*block // a new slice, since copies of c still use the old one
	for i, b := range c.blocks {
		at := len(fresh) // fresh[at:] belongs to later blocks
		if i+1 < len(c.blocks) {
			at = sort.Search(len(fresh), func(k int) bool { return fresh[k].actor.Compare(c.blocks[i+1].actors[0]) >= 0 })
		}
		if at == 0 {
			blocks = append(blocks, b)
			continue
		}
		blocks = append(blocks, b.with(fresh[:at])...)
		fresh = fresh[at:]
	}
	c.blocks = append(blocks, newBlocks(seen(fresh))...)
	return retired
}

// with returns the blocks that take the place of b: its entries merged with fresh, which
// replaces entries of the same actors. b itself does not change.
func (b *block) with(fresh []entry) []*block {
	if b.last().Compare(fresh[0].actor) < 0 && len(b.actors) > blockActors-len(fresh) {
		return append([]*block{b}, newBlocks(seen(fresh))...) // actors born after all of b leave b shared
	}
	list := make([]entry, 0, len(b.actors)+len(fresh))
	for i, a := range b.actors {
		for len(fresh) > 0 && fresh[0].actor.Compare(a) < 0 {
			list, fresh = append(list, fresh[0]), fresh[1:]
		}
		if len(fresh) > 0 && fresh[0].actor == a {
			continue
		}
		list = append(list, entry{a, *b.span(i, new(Span))})
	}
	return newBlocks(seen(append(list, fresh...)))
}

// seen removes the entries of actors of which nothing was seen. It reuses the memory of list.
func seen(list []entry) []entry {
	return slices.DeleteFunc(list, func(e entry) bool { return e.span.Head() == 0 })
}

// retiredAt returns the block that holds a and the index of a in it; ok is false if none does.
func (c *CausalContext) retiredAt(a Actor) (b *block, i int, ok bool) {
	at := sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].last().Compare(a) >= 0 })
	if at == len(c.blocks) {
		return nil, 0, false
	}
	b = c.blocks[at]
	i, ok = slices.BinarySearchFunc(b.actors, a, Actor.Compare)
	return b, i, ok
}

// retired sets s to the span of a in the blocks and returns s; it returns nil if a is in none.
func (c *CausalContext) retired(a Actor, s *Span) *Span {
	if b, i, ok := c.retiredAt(a); ok {
		return b.span(i, s)
	}
	return nil
}

// Retired returns how many actors are retired and not listed.
func (c *CausalContext) Retired() int {
	n := 0
	for _, b := range c.blocks {
		n += len(b.actors)
	}
	if n == 0 {
		return 0
	}
	for _, a := range c.actors {
		if _, _, both := c.retiredAt(a); both {
			n--
		}
	}
	return n
}

// share returns a hash of a and its span, 0 for an empty span. The sum of a context adds up
// the shares of its actors, so that it can be updated actor by actor, in any order.
func (s *Span) share(a Actor) uint64 {
	if s.Head() == 0 {
		return 0
	}
	h := stir(stir(stir(a.Birth)^a.Rand) ^ s.Base)
	for _, r := range s.Ranges {
		h = stir(stir(h^r.First) ^ r.Last)
	}
	return h
}

// stir is a bijection in which each bit of x changes about half of the result's bits: the
// finalizer of splitmix64.
func stir(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lastActor is the greatest Actor.
var lastActor = Actor{maxMillis, 1<<64 - 1}

// Sum returns a 64-bit hash of the dots of c, whichever actors are retired. Equal contexts have equal
// sums; two different ones have the same sum with a probability of 2^-64. It guards against
// accidents, and not against a peer that looks for collisions.
func (c *CausalContext) Sum() uint64 {
	return c.blockSum(Actor{}, lastActor) + c.listedSum(Actor{}, lastActor)
}

// blockSum adds up the shares of the retired actors in (after, upTo] that are not listed.
func (c *CausalContext) blockSum(after, upTo Actor) (sum uint64) {
	for _, b := range c.blocks {
		if b.last().Compare(after) > 0 && b.actors[0].Compare(upTo) <= 0 {
			sum += b.sums[b.upTo(upTo)] - b.sums[b.upTo(after)]
		}
	}
	if sum == 0 {
		return 0
	}
	var s Span
	for i := c.listedFrom(after); i < len(c.actors) && c.actors[i].Compare(upTo) <= 0; i++ {
		if was := c.retired(c.actors[i], &s); was != nil {
			sum -= was.share(c.actors[i])
		}
	}
	return sum
}

// listedSum adds up the shares of the listed actors in (after, upTo].
func (c *CausalContext) listedSum(after, upTo Actor) (sum uint64) {
	for i := c.listedFrom(after); i < len(c.actors) && c.actors[i].Compare(upTo) <= 0; i++ {
		sum += c.spans[i].share(c.actors[i])
	}
	return sum
}

// listedFrom returns the index of the first listed actor after a.
func (c *CausalContext) listedFrom(a Actor) int {
	i, found := c.find(a)
	if found {
		i++
	}
	return i
}
