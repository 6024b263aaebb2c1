package crdt

import (
	"slices"
	"strings"
)

// makeRoom removes what a write of kind at path would contradict: what stands
// where the path leads through, and what of other kinds is at or below its end.
func (w *writer) makeRoom(segments []string, path string, kind Kind) {
	if w.cell.many() == nil {
		if r := w.cell.view.Load(); r != nil && !r.tomb && (path != "" || kind != Register) {
			w.tombstone(slotRegister, "")
		}
		return
	}
	at := ""
	for i := range segments {
		w.clearLeaf(at, Object)
		at = pathOf(segments[:i+1])
	}
	w.clearLeaf(path, kind)
}

// clearLeaf removes everything at and below path but what belongs to a value of
// kind there: for an object, all below it.
func (w *writer) clearLeaf(path string, kind Kind) {
	m := w.cell.many()
	if m == nil {
		return
	}
	if kind == Object { // its fields stay: what can be in the way is at path itself
		for _, k := range leafKinds {
			if slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).counts) {
				w.tombstone(k, path)
			}
		}
		if m.elements == 0 {
			return
		}
	}
	if leaves, ok := m.leavesAt(path); ok && kind != Object && kind != Set && !slices.ContainsFunc(leaves, func(k slotKind) bool { return k != leafSlot(kind) }) {
		return // a leaf written again, or anew
	}
	var other []string
	kept := false
	for key, slot := range m.slots {
		if !strings.HasPrefix(key[2:], path) || !slices.ContainsFunc(slot, (*record).counts) {
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

var leafKinds = []slotKind{slotRegister, slotMax, slotCounter, slotSibling}

// belongs reports whether r, at or below path, is part of a value of kind there.
func belongs(r *record, path string, kind Kind) bool {
	switch kind {
	case Object:
		return !isElementOf(r.path(), path) && (r.path() != path || r.kind == slotMarker)
	case Set:
		return isElementOf(r.path(), path) || r.path() == path && path != "" && r.val() == emptySet
	}
	return r.path() == path && r.kind == leafSlot(kind)
}

// delete removes what is at and below path, and reports whether there was anything.
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

// clearBelow removes everything at and below path, and reports whether there was
// anything: with one clear if
// this replica has seen every dot up to those it removes, for then the clear's
// vector names no dot it has not seen; else slot by slot. A clear also removes leaves
// that are older and were not seen.
func (w *writer) clearBelow(path string) bool {
	m := w.cell.many()
	if m == nil {
		return false
	}
	if leaves, ok := m.leavesAt(path); ok && len(leaves) < 2 {
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

// removable returns what a removal of path is to name: one record of each slot with
// content at and below it, and the dots of all that is or was there.
func (m *many) removable(path string) (content []*record, seen []past) {
	note := func(r *record) {
		seen = mergePast(seen, r.actor, r.seq)
		for _, p := range r.past() {
			seen = mergePast(seen, p.actor, p.seq)
		}
	}
	for _, key := range sortedSlots(m) {
		if !strings.HasPrefix(key[2:], path) {
			continue
		}
		for _, r := range m.slots[key] {
			note(r)
		}
		if slices.ContainsFunc(m.slots[key], (*record).counts) {
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

func sortedSlots(m *many) []string {
	keys := make([]string, 0, len(m.slots))
	for k := range m.slots {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
