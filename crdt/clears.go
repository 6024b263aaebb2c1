package crdt

import (
	"slices"
	"strings"
)

// clearContradicted removes the content that a write of kind at path contradicts: a leaf or
// a set at a place where the path needs an object, and content of other kinds at or below
// the end of the path.
func (w *writer) clearContradicted(segments []string, path string, kind Kind) {
	if w.cell.many() == nil {
		if r := w.cell.view.Load(); r != nil && !r.tomb && (path != "" || kind != Register) {
			w.tombstone(slotRegister, "")
		}
		return
	}
	at := ""
	for i := range segments {
		w.clearExcept(at, Object)
		at = pathOf(segments[:i+1])
	}
	w.clearExcept(path, kind)
}

// clearExcept removes everything at and below path except the content that belongs to a
// value of kind at path. To an object belongs everything below it.
func (w *writer) clearExcept(path string, kind Kind) {
	m := w.cell.many()
	if m == nil {
		return
	}
	if kind == Object { // fields stay; only the slots at path itself and set elements can contradict
		for _, k := range leafKinds {
			if slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).isContent) {
				w.tombstone(k, path)
			}
		}
	}
	if !m.contradicts(path, kind) {
		return
	}
	var other []string
	kept := false
	for key, slot := range m.slots {
		if !strings.HasPrefix(key[2:], path) || !slices.ContainsFunc(slot, (*record).isContent) {
			continue
		}
		if belongs(slot[0], path, kind) {
			kept = true
		} else {
			other = append(other, key)
		}
	}
	switch {
	case len(other) == 0:
	case kept:
		slices.Sort(other)
		for _, key := range other {
			w.tombstone(m.slots[key][0].kind, key[2:])
		}
	default:
		w.clearBelow(path)
	}
}

// contradicts reports whether there may be content at or below path that does not belong to a
// value of kind. Its cost does not depend on the size of the key.
func (m *many) contradicts(path string, kind Kind) bool {
	if m.unknownKinds {
		return true
	}
	below, elements := m.stockBelow(path).records, m.stockBelow(elementsAt(path)).records
	switch kind {
	case Object:
		below = elements
	case Set:
		below -= elements
	}
	return below > 0 || slices.ContainsFunc(m.leavesAt(path), func(k slotKind) bool {
		return !belongs(m.slots[slotKey(k, path)][0], path, kind)
	})
}

var leafKinds = []slotKind{slotRegister, slotMax, slotCounter, slotSibling}

// belongs reports whether r, a record at or below path, is part of a value of kind at path.
func belongs(r *record, path string, kind Kind) bool {
	switch kind {
	case Object:
		return !isElementOf(r.path(), path) && (r.path() != path || r.kind == slotMarker)
	case Set:
		return isElementOf(r.path(), path) || r.path() == path && path != "" && r.val() == emptySet
	}
	return r.path() == path && r.kind == leafSlot(kind)
}

// delete removes everything at and below path, and reports whether there was content.
func (w *writer) delete(path string) bool {
	c := w.cell
	if c.many() != nil {
		return w.clearBelow(path)
	}
	if r := c.view.Load(); path == "" && r != nil && !r.tomb {
		w.tombstone(slotRegister, "")
		return true
	}
	return false
}

// clearBelow removes everything at and below path, and reports whether there was content.
// It writes one clear if this replica has seen every dot up to those that it removes. If
// a dot is missing it removes slot by slot, because the past of a clear would also name
// the missing dot, which may be at any slot below. A clear also removes last-write-wins
// leaves that are older than the clear and that this replica has not seen.
func (w *writer) clearBelow(path string) bool {
	m := w.cell.many()
	if m == nil {
		return false
	}
	if leaves := m.leavesAt(path); len(leaves) < 2 && m.stockBelow(path).records == 0 && !m.unknownKinds {
		for _, k := range leaves {
			w.tombstone(k, path)
		}
		return len(leaves) > 0
	}
	s := w.s
	below, seen := m.removable(path)
	leaf := len(below) == 1 && below[0].path() == path
	if leaf || !s.contiguous(seen) {
		for _, r := range below {
			w.tombstone(r.kind, r.path())
		}
	} else if len(below) > 0 {
		r := w.record(slotClear, path, nil)
		r.tomb = true
		w.setPast(r, seen)
		w.commit(r)
	}
	return len(below) > 0
}

// removable returns what a removal of path must name: one record of each slot with content
// at or below path, and the dots of all records that are or were at or below path.
func (m *many) removable(path string) (content []*record, seen []pastEntry) {
	note := func(r *record) {
		seen = mergePast(seen, r.actor, r.seq)
		for _, p := range r.past() {
			seen = mergePast(seen, p.actor, p.seq)
		}
	}
	for _, key := range sortedSlots(m) {
		if isDeadline(key) || !strings.HasPrefix(key[2:], path) {
			continue
		}
		for _, r := range m.slots[key] {
			note(r)
		}
		if slices.ContainsFunc(m.slots[key], (*record).isContent) {
			content = append(content, m.slots[key][0])
		}
	}
	for _, c := range m.clears {
		if strings.HasPrefix(c.path(), path) {
			note(c)
		}
	}
	return content, seen
}

// sortedSlots returns the keys of m.slots in order, so that no result depends on map order.
func sortedSlots(m *many) []string {
	keys := make([]string, 0, len(m.slots))
	for k := range m.slots {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
