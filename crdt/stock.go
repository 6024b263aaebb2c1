package crdt

import (
	"slices"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// stock is the number of records at one or more slots of a key, and their memory.
type stock struct {
	records      int // number of records that are content
	contentBytes int // memory of those records
	allBytes     int // memory of all records, which include removals
}

func (a stock) plus(b stock) stock {
	return stock{a.records + b.records, a.contentBytes + b.contentBytes, a.allBytes + b.allBytes}
}

func (a stock) minus(b stock) stock {
	return stock{a.records - b.records, a.contentBytes - b.contentBytes, a.allBytes - b.allBytes}
}

// stock returns the stock of r alone.
func (r *record) stock() stock {
	if !r.isContent() {
		return stock{allBytes: r.memory()}
	}
	return stock{1, r.memory(), r.memory()}
}

// elementsAt returns the place that has the elements of the set at path.
func elementsAt(path string) string { return path + "\xc4" }

// places calls f for each place on the slot path, from the root to the end of path. The
// last place of an element is the one that has all elements of its set.
func places(path string, f func(place string)) {
	f("")
	r := wire.NewReader(unsafe.Slice(unsafe.StringData(path), len(path)))
	for r.Peek() == wire.TypeStr {
		r.Str()
		if r.Err() != nil {
			return
		}
		f(path[:len(path)-r.Len()])
	}
	switch rest := path[len(path)-r.Len():]; {
	case rest == "":
	case rest[0] == '\xc4':
		f(path[:len(path)-len(rest)+1])
	default:
		f(elementsAt(path[:len(path)-len(rest)]))
	}
}

// account adds the stock of r, a record of this key, to the places above it if comes is
// true, and subtracts it otherwise.
func (m *many) account(r *record, comes bool) {
	switch {
	case r.kind == slotDeadline:
		return // a deadline is beside the content, and no removal of that concerns it
	case r.kind >= firstUnknown:
		m.unknownKinds = true
		return
	}
	path, s := r.path(), r.stock()
	if path != "" && r.isContent() {
		m.innerKinds |= 1 << r.kind
	}
	if !comes {
		s = stock{}.minus(s)
	}
	places(path, func(place string) {
		if place == path && r.kind != slotClear {
			return // r is at the place and not below it
		}
		switch place {
		case "":
			m.root = m.root.plus(s)
		case "\xc4":
			m.set = m.set.plus(s)
		default:
			if m.stocks == nil {
				m.stocks = make(map[string]stock)
			}
			if sum := m.stocks[place].plus(s); sum == (stock{}) {
				delete(m.stocks, place)
			} else {
				m.stocks[place] = sum
			}
		}
	})
}

// stockBelow returns the stock of the slots strictly below a place, and of the clears at it.
func (m *many) stockBelow(place string) stock {
	switch place {
	case "":
		return m.root
	case "\xc4":
		return m.set
	}
	return m.stocks[place]
}

// leavesAt returns the kinds of the slots with content at the place path itself, except those
// that only a later version knows.
func (m *many) leavesAt(path string) (kinds []slotKind) {
	for _, k := range ownKinds {
		if (path == "" || m.innerKinds>>k&1 == 1) && slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).isContent) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// ownKinds are the kinds of slots that a place itself can have.
var ownKinds = []slotKind{slotRegister, slotMax, slotCounter, slotSibling, slotMarker}

// soleKind returns the only kind of which the key has content, expired or not, and 0 if it
// has no content. ok is false if concurrent writes have left content of several kinds.
func (m *many) soleKind() (keyKind Kind, ok bool) {
	found := 0
	note := func(k Kind, there bool) {
		if there {
			keyKind = k
			found++
		}
	}
	holds := func(k slotKind) bool { return slices.ContainsFunc(m.slots[slotKey(k, "")], (*record).isContent) }
	for _, k := range leafKinds {
		note(kindOf(k, ""), holds(k))
	}
	note(Set, m.set.records > 0)
	note(Object, m.root.records > m.set.records || holds(slotMarker))
	return keyKind, found <= 1
}
