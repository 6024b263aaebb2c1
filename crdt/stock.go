package crdt

import (
	"slices"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// stock is what there is at a place inside a key.
type stock struct {
	n       int // records of content
	content int // bytes of Memory that those take
	all     int // the same with removals
}

func (a stock) plus(b stock) stock { return stock{a.n + b.n, a.content + b.content, a.all + b.all} }

func (a stock) minus(b stock) stock { return stock{a.n - b.n, a.content - b.content, a.all - b.all} }

// stock is that of r alone.
func (r *record) stock() stock {
	if !r.counts() {
		return stock{all: r.memory()}
	}
	return stock{1, r.memory(), r.memory()}
}

// elementsAt names the place inside path where the elements of a set there are.
func elementsAt(path string) string { return path + "\xc4" }

// places calls f for each place that path leads through, from the root to its end. The
// last one of an element is that of all elements of its set.
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

// place notes that r, which is inside the key, comes or goes.
func (m *many) place(r *record, comes bool) {
	if r.kind >= firstUnknown {
		m.foreign = true
		return
	}
	path, s := r.path(), r.stock()
	if path != "" && r.counts() {
		m.kinds |= 1 << r.kind
	}
	if !comes {
		s = stock{}.minus(s)
	}
	places(path, func(place string) {
		if place == path && r.kind != slotClear {
			return // it is at the place, not below
		}
		switch place {
		case "":
			m.root = m.root.plus(s)
		case "\xc4":
			m.set = m.set.plus(s)
		default:
			if m.below == nil {
				m.below = make(map[string]stock)
			}
			if sum := m.below[place].plus(s); sum == (stock{}) {
				delete(m.below, place)
			} else {
				m.below[place] = sum
			}
		}
	})
}

// inside returns what is below a place, clears at the place among it.
func (m *many) inside(place string) stock {
	switch place {
	case "":
		return m.root
	case "\xc4":
		return m.set
	}
	return m.below[place]
}

// leavesAt returns of which kinds there is content at a place itself; ok is false if there may
// be more of it than that: below, or of a kind that only a later version knows.
func (m *many) leavesAt(path string) (kinds []slotKind, ok bool) {
	for _, k := range ownKinds {
		if (path == "" || m.kinds>>k&1 == 1) && slices.ContainsFunc(m.slots[slotKey(k, path)], (*record).counts) {
			kinds = append(kinds, k)
		}
	}
	return kinds, !m.foreign && m.inside(path).n == 0
}

// ownKinds are those of slots at a place itself.
var ownKinds = []slotKind{slotRegister, slotMax, slotCounter, slotSibling, slotMarker}

// sole returns the one kind of which the key has content, expired or not; ok is false if
// by concurrent writes it has content of several. Without content it is of no kind.
func (m *many) sole() (family Kind, ok bool) {
	found := 0
	note := func(k Kind, there bool) {
		if there {
			family = k
			found++
		}
	}
	holds := func(k slotKind) bool { return slices.ContainsFunc(m.slots[slotKey(k, "")], (*record).counts) }
	for _, k := range leafKinds {
		note(kindOf(k, ""), holds(k))
	}
	note(Set, m.set.n > 0)
	note(Object, m.root.n > m.set.n || holds(slotMarker))
	return family, found <= 1
}
