package queue

import "container/heap"

// pile is a heap whose entries know their positions, so that any of them can be removed.
type pile struct {
	list     []*entry
	less     func(a, b *entry) bool
	stack    *stack // the stack that the pile belongs to, nil for none
	position int    // index in that stack, if the pile has entries
}

func (p *pile) Len() int           { return len(p.list) }
func (p *pile) Less(i, j int) bool { return p.less(p.list[i], p.list[j]) }

func (p *pile) Swap(i, j int) {
	p.list[i], p.list[j] = p.list[j], p.list[i]
	p.list[i].position, p.list[j].position = i, j
}

func (p *pile) Push(x any) {
	e := x.(*entry)
	e.pile, e.position = p, len(p.list)
	p.list = append(p.list, e)
}

func (p *pile) Pop() any {
	last := len(p.list) - 1
	e := p.list[last]
	p.list[last] = nil
	p.list = p.list[:last]
	e.pile = nil
	return e
}

// first returns the first entry, nil if there is none.
func (p *pile) first() *entry {
	if len(p.list) == 0 {
		return nil
	}
	return p.list[0]
}

// add adds an entry, which must not be in any pile.
func (p *pile) add(e *entry) {
	before := p.first()
	heap.Push(p, e)
	p.changed(before, 1)
}

// lift removes an entry from its pile, if it is in one.
func (e *entry) lift() {
	if p := e.pile; p != nil {
		before := p.first()
		heap.Remove(p, e.position)
		p.changed(before, -1)
	}
}

// changed tells the stack of a pile that n more entries are in the pile, and which was the first before.
func (p *pile) changed(before *entry, n int) {
	if p.stack == nil {
		return
	}
	p.stack.entries += n
	switch now := p.first(); {
	case before == nil:
		heap.Push(p.stack, p)
	case now == nil:
		heap.Remove(p.stack, p.position)
	case now != before:
		heap.Fix(p.stack, p.position)
	}
}

// stack is a heap of piles with entries, ordered by their first entries.
type stack struct {
	piles   []*pile
	entries int // number of entries in all piles
}

func (s *stack) Len() int           { return len(s.piles) }
func (s *stack) Less(i, j int) bool { return s.piles[i].less(s.piles[i].list[0], s.piles[j].list[0]) }

func (s *stack) Swap(i, j int) {
	s.piles[i], s.piles[j] = s.piles[j], s.piles[i]
	s.piles[i].position, s.piles[j].position = i, j
}

func (s *stack) Push(x any) {
	p := x.(*pile)
	p.position = len(s.piles)
	s.piles = append(s.piles, p)
}

func (s *stack) Pop() any {
	last := len(s.piles) - 1
	p := s.piles[last]
	s.piles[last] = nil
	s.piles = s.piles[:last]
	return p
}

// first returns the first entry of all piles, nil if there is none.
func (s *stack) first() *entry {
	if len(s.piles) == 0 {
		return nil
	}
	return s.piles[0].list[0]
}

// take puts a pile, with its entries, into the stack. The pile must not be in another one.
func (s *stack) take(p *pile) {
	p.stack = s
	if n := len(p.list); n > 0 {
		heap.Push(s, p)
		s.entries += n
	}
}
