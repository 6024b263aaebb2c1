package crdt

import (
	"cmp"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// removeElements removes those that are there from the set at path. A set inside an object
// stays without them.
func (w *writer) removeElements(path string, values []Value) {
	removed := false
	for _, v := range values {
		at := elementPath(path, v)
		if m := w.cell.many(); m != nil && slices.ContainsFunc(m.slots[slotKey(slotElement, at)], (*record).counts) {
			w.tombstone(slotElement, at)
			removed = true
		}
	}
	if removed && path != "" {
		w.put(slotRegister, path, emptySet)
	}
}

// become makes the set at path the elements of v, each to expire as this write says:
// it adds what is missing or has another expiry and removes what is seen and not listed.
func (w *writer) become(path string, v Value) {
	want := make(map[string]bool)
	r := wire.NewReader(v.bytes())
	for range r.ArrayLen() {
		want[elementPath(path, Value{string(r.Raw())})] = true
	}
	have := make(map[string]bool)
	if m := w.cell.many(); m != nil {
		for _, key := range sortedSlots(m) {
			slot := m.slots[key]
			if slot[0].kind == slotElement && isElementOf(slot[0].path(), path) && slices.ContainsFunc(slot, (*record).counts) {
				have[key[2:]] = lasting(alive(slot, w.now)) == cmp.Or(w.expiry, never)
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

// never is later than any expiry.
const never = ^uint64(0)

// lasting returns until when the last of list lives, 0 if it is empty.
func lasting(list []*record) (until uint64) {
	for _, r := range list {
		until = max(until, cmp.Or(r.expiry(), never))
	}
	return until
}
