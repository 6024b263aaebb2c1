package queue

import "container/heap"

// pile is a heap whose entries know their positions, so that any of them can be removed.
type pile struct {
	list []*entry
	less func(a, b *entry) bool
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

// add adds an entry, which must not be in any pile.
func (p *pile) add(e *entry) { heap.Push(p, e) }

// lift removes an entry from its pile, if it is in one.
func (e *entry) lift() {
	if e.pile != nil {
		heap.Remove(e.pile, e.position)
	}
}
