package clock

import (
	"slices"
	"sort"
)

// blockActors is how many retired actors a block holds at most.
const blockActors = 1024

// A block is some of the retired actors of a context, in order. It never changes:
// copies of a context share it.
type block struct {
	actors []Actor
	bases  []uint64
	ranges map[Actor][]Range // of those who have any
	sums   []uint64          // of the shares before each actor, and of all
}

func (b *block) last() Actor { return b.actors[len(b.actors)-1] }

// span sets s to what was seen of the i-th actor.
func (b *block) span(i int, s *Span) *Span {
	s.Base, s.Ranges = b.bases[i], b.ranges[b.actors[i]]
	return s
}

// upTo returns how many of the actors are not after a.
func (b *block) upTo(a Actor) int {
	return sort.Search(len(b.actors), func(i int) bool { return b.actors[i].Compare(a) > 0 })
}

// newBlocks cuts sorted entries into blocks.
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

// entry is an actor and what was seen of it.
type entry struct {
	actor Actor
	span  Span
}

// Retire moves the listed actors that rest from the list of c to its blocks, and
// returns them. That changes nothing of what c has seen.
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
	var blocks []*block // not in place: copies have the old ones
	for i, b := range c.blocks {
		at := len(fresh) // those from there on belong to later blocks
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

// with returns blocks in place of b, with fresh among its actors or instead of them.
func (b *block) with(fresh []entry) []*block {
	if b.last().Compare(fresh[0].actor) < 0 && len(b.actors) > blockActors-len(fresh) {
		return append([]*block{b}, newBlocks(seen(fresh))...) // lives that are later than all before
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

// seen leaves out those of whom nothing was seen.
func seen(list []entry) []entry {
	return slices.DeleteFunc(list, func(e entry) bool { return e.span.Head() == 0 })
}

// retiredAt returns where a is in the blocks.
func (c *CausalContext) retiredAt(a Actor) (b *block, i int, ok bool) {
	at := sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].last().Compare(a) >= 0 })
	if at == len(c.blocks) {
		return nil, 0, false
	}
	b = c.blocks[at]
	i, ok = slices.BinarySearchFunc(b.actors, a, Actor.Compare)
	return b, i, ok
}

// retired returns what was seen of a by the blocks, in s, nil if nothing.
func (c *CausalContext) retired(a Actor, s *Span) *Span {
	if b, i, ok := c.retiredAt(a); ok {
		return b.span(i, s)
	}
	return nil
}

// Retired returns how many actors are retired.
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

// share is an actor's part of the sum of a context, 0 if nothing was seen of it.
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

// stir is a bijection that spreads each bit over all (the finalizer of splitmix64).
func stir(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lastActor is not before any.
var lastActor = Actor{maxMillis, 1<<64 - 1}

// Sum identifies what c has seen: contexts that have seen the same have the same sum,
// others another, but once in 2^64.
func (c *CausalContext) Sum() uint64 {
	return c.blockSum(Actor{}, lastActor) + c.listedSum(Actor{}, lastActor)
}

// blockSum adds up the retired actors after one, up to another.
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

func (c *CausalContext) listedSum(after, upTo Actor) (sum uint64) {
	for i := c.listedFrom(after); i < len(c.actors) && c.actors[i].Compare(upTo) <= 0; i++ {
		sum += c.spans[i].share(c.actors[i])
	}
	return sum
}

// listedFrom returns where the first listed actor after a is.
func (c *CausalContext) listedFrom(a Actor) int {
	i, found := c.find(a)
	if found {
		i++
	}
	return i
}
