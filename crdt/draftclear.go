package crdt

import (
	"slices"
	"strings"
)

// at returns what is at the slots of a place itself, and how many of them have content.
func (d *draft) at(path string) (sum stock, full int) {
	for _, k := range ownKinds {
		s := d.slot(k, path)
		sum = sum.plus(s)
		if s.n > 0 {
			full++
		}
	}
	return sum, full
}

// clear removes everything at and below path, and reports whether there was anything: one
// leaf alone by a removal of its own, which leaves the removals beside it.
func (d *draft) clear(path string) bool {
	here, full := d.at(path)
	below := d.inside(path)
	switch {
	case here.n+below.n == 0:
		return false
	case full == 1 && below.n == 0:
		for _, k := range ownKinds {
			d.vacate(k, path)
		}
		return true
	}
	all := here.plus(below)
	d.shift(path, stock{}.minus(all))
	d.cleared[path] = d.step
	return true
}

// vacate removes what is at one slot, if that is content.
func (d *draft) vacate(kind slotKind, path string) {
	if d.slot(kind, path).n > 0 {
		d.set(kind, path, stock{})
	}
}

// empty removes the content inside a place one by one; removals that were there stay.
func (d *draft) empty(place string) {
	there := d.inside(place)
	d.shift(place, stock{-there.n, -there.content, -there.content})
	d.cleared[place] = d.step
	d.step++
	d.below[place] = edit{stock{all: there.all - there.content}, d.step}
}

// makeRoom is as the writer's.
func (d *draft) makeRoom(segments []string, path string, kind Kind) {
	at := ""
	for i := range segments {
		d.clearLeaf(at, Object)
		at = pathOf(segments[:i+1])
	}
	d.clearLeaf(path, kind)
}

// clearLeaf is as the writer's.
func (d *draft) clearLeaf(path string, kind Kind) {
	elements := d.inside(elementsAt(path))
	if kind == Object {
		for _, k := range leafKinds {
			d.vacate(k, path)
		}
		switch {
		case elements.n == 0:
		case d.inside(path).n > elements.n || d.slot(slotMarker, path).n > 0:
			d.empty(elementsAt(path))
		default:
			d.clear(path)
		}
		return
	}
	here, _ := d.at(path)
	kept := 0
	var own []slotKind
	switch {
	case kind != Set:
		own = []slotKind{leafSlot(kind)}
	case path != "" && d.holdsEmptySet(path):
		own = []slotKind{slotRegister}
		fallthrough
	default:
		kept = elements.n
	}
	for _, k := range own {
		kept += d.slot(k, path).n
	}
	switch all := here.n + d.inside(path).n; {
	case all == kept:
		return
	case kept == 0:
		d.clear(path)
		return
	}
	for _, k := range ownKinds {
		if !slices.Contains(own, k) {
			d.vacate(k, path)
		}
	}
	if kind != Set {
		d.empty(elementsAt(path))
		elements = stock{}
	}
	if d.many != nil && d.inside(path).n > elements.n { // the fields of an object, by a concurrent write
		for key, slot := range d.many.slots {
			if at := key[2:]; len(at) > len(path) && strings.HasPrefix(at, path) && !isElementOf(at, path) {
				d.vacate(slot[0].kind, at)
			}
		}
	}
}

// holdsEmptySet reports whether the mark of a set without elements is at path.
func (d *draft) holdsEmptySet(path string) bool {
	key := slotKey(slotRegister, path)
	if e, ok := d.slots[key]; ok {
		return e.content == slotRegister.memory(path, len(emptySet))
	}
	return d.many != nil && slices.ContainsFunc(d.many.slots[key], isEmptySet)
}
