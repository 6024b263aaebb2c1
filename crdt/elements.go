package crdt

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// removeElements removes from the set at path those of values that are elements of it. A
// set inside an object stays when its last element is removed.
func (w *writer) removeElements(path string, values []Value) {
	removed := false
	for _, v := range values {
		at := elementPath(path, v)
		if m := w.cell.many(); m != nil && slices.ContainsFunc(m.slots[slotKey(slotElement, at)], (*record).isContent) {
			w.tombstone(slotElement, at)
			removed = true
		}
	}
	if removed && path != "" {
		w.put(slotRegister, path, emptySet)
	}
}

// assignSet makes the set at path consist of the elements of v, each with this write's
// expiry. It adds an element that is missing or has another expiry, and removes an element
// that this replica sees and v does not list.
func (w *writer) assignSet(path string, v Value) {
	want := make(map[string]bool)
	r := wire.NewReader(v.bytes())
	for range r.ArrayLen() {
		want[elementPath(path, Value{string(r.Raw())})] = true
	}
	have := make(map[string]bool)
	if m := w.cell.many(); m != nil {
		for _, key := range sortedSlots(m) {
			slot := m.slots[key]
			if slot[0].kind == slotElement && isElementOf(slot[0].path(), path) && slices.ContainsFunc(slot, (*record).isContent) {
				have[key[2:]] = w.s.lastExpiry(m, w.s.alive(m, slot, w.now)) == cmp.Or(w.expiry, never)
				if !want[key[2:]] {
					w.tombstone(slotElement, key[2:])
				}
			}
		}
	}
	missing := make([]string, 0, len(want))
	for at := range want {
		if !have[at] {
			missing = append(missing, at)
		}
	}
	slices.Sort(missing)
	for _, at := range missing {
		w.put(slotElement, at, "")
	}
	if len(want) == 0 && path != "" {
		w.put(slotRegister, path, emptySet)
	}
}

// never stands for the expiry of a record that does not expire. It is later than any other.
const never = ^uint64(0)

// lastExpiry returns when the last of list, records of m, ends in Unix milliseconds: never if
// a record does not end, 0 if the list is empty.
func (h *history) lastExpiry(m *many, list []*record) (until uint64) {
	for _, r := range list {
		until = max(until, cmp.Or(h.expiryOf(m, r), never))
	}
	return until
}
