package crdt

import (
	"slices"
	"strings"
)

// ownStock returns the stock of the slots at the place path itself, and how many of these
// slots have content.
func (d *draft) ownStock(path string) (sum stock, full int) {
	for _, k := range ownKinds {
		s := d.slotStock(k, path)
		sum = sum.plus(s)
		if s.records > 0 {
			full++
		}
	}
	return sum, full
}

// clear removes everything at and below path, and reports whether there was content. A
// leaf that is alone is removed by a removal of its own, which leaves the removals beside
// it; anything else is removed by a clear, which covers them too.
func (d *draft) clear(path string) bool {
	here, full := d.ownStock(path)
	below := d.stockBelow(path)
	switch {
	case here.records+below.records == 0:
		return false
	case full == 1 && below.records == 0:
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

// vacate removes the content of one slot, if there is any.
func (d *draft) vacate(kind slotKind, path string) {
	if d.slotStock(kind, path).records > 0 {
		d.setSlot(kind, path, stock{})
	}
}

// removeContentBelow removes the content below a place slot by slot. Removals that were
// there stay.
func (d *draft) removeContentBelow(place string) {
	there := d.stockBelow(place)
	d.shift(place, stock{-there.records, -there.contentBytes, -there.contentBytes})
	d.cleared[place] = d.step
	d.step++
	d.belowEdits[place] = edit{stock{allBytes: there.allBytes - there.contentBytes}, d.step}
}

func (d *draft) clearContradicted(segments []string, path string, kind Kind) {
	at := ""
	for i := range segments {
		d.clearExcept(at, Object)
		at = pathOf(segments[:i+1])
	}
	d.clearExcept(path, kind)
}

func (d *draft) clearExcept(path string, kind Kind) {
	elements := d.stockBelow(elementsAt(path))
	if kind == Object {
		for _, k := range leafKinds {
			d.vacate(k, path)
		}
		switch {
		case elements.records == 0:
		case d.stockBelow(path).records > elements.records || d.slotStock(slotMarker, path).records > 0:
			d.removeContentBelow(elementsAt(path))
		default:
			d.clear(path)
		}
		return
	}
	here, _ := d.ownStock(path)
	kept := 0
	var own []slotKind
	switch {
	case kind != Set:
		own = []slotKind{leafSlot(kind)}
	case path != "" && d.holdsEmptySet(path):
		own = []slotKind{slotRegister}
		fallthrough
	default:
		kept = elements.records
	}
	for _, k := range own {
		kept += d.slotStock(k, path).records
	}
	switch all := here.records + d.stockBelow(path).records; {
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
		d.removeContentBelow(elementsAt(path))
		elements = stock{}
	}
	if d.many != nil && d.stockBelow(path).records > elements.records { // fields of an object that a concurrent write left here
		for key, slot := range d.many.slots {
			if at := key[2:]; len(at) > len(path) && strings.HasPrefix(at, path) && !isElementOf(at, path) {
				d.vacate(slot[0].kind, at)
			}
		}
	}
}

// holdsEmptySet reports whether the register that stands for an empty set is at path.
func (d *draft) holdsEmptySet(path string) bool {
	key := slotKey(slotRegister, path)
	if e, ok := d.slotEdits[key]; ok {
		return e.contentBytes == slotRegister.memory(path, len(emptySet))
	}
	return d.many != nil && slices.ContainsFunc(d.many.slots[key], isEmptySet)
}
