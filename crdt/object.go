package crdt

import (
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// emptySet is the value of a register leaf that stands for a set without elements inside an
// object: an empty msgpack array. It has no meaning where the set has elements.
const emptySet = "\x90"

func isEmptySet(r *record) bool { return r.kind == slotRegister && r.val() == emptySet }

// patch merges the map in raw into the object at path. A scalar becomes a register leaf, an
// array adds elements to a set, and nil removes the field. A patch that sets no field makes
// sure that the object itself exists.
func (w *writer) patch(path string, raw []byte) {
	sets, removed := false, false
	r := wire.NewReader(raw)
	for range r.MapLen() {
		at := string(wire.AppendStr([]byte(path), r.Str()))
		valueType := r.Peek()
		sets = sets || valueType != wire.TypeNil
		value := r.Raw()
		switch valueType {
		case wire.TypeNil:
			removed = w.clearBelow(at) || removed
		case wire.TypeMap:
			w.clearExcept(at, Object)
			w.patch(at, value)
		case wire.TypeArray:
			w.clearExcept(at, Set)
			elements := wire.NewReader(value)
			k := elements.ArrayLen()
			if k == 0 && !w.holds(at) {
				w.put(slotRegister, at, emptySet)
			}
			for range k {
				w.put(slotElement, elementPath(at, Value{string(elements.Raw())}), "")
			}
		default:
			w.clearExcept(at, Register)
			w.put(slotRegister, at, string(value))
		}
	}
	if !sets && (removed || !w.holds(path)) {
		w.putMarker(path)
	}
}

// nullField returns the patch that removes the field name, encoded.
func nullField(name string) []byte {
	return wire.AppendNil(wire.AppendStr(wire.AppendMap(nil, 1), name))
}

// putMarker writes that there is an object at path, with fields or without. A removal of a
// field writes a marker too, so that the object stays even if other peers concurrently
// remove its other fields.
func (w *writer) putMarker(path string) { w.put(slotMarker, path, emptyMap) }

// holds reports whether there is content at or below path.
func (w *writer) holds(path string) bool {
	if w.cell.many() == nil {
		return false
	}
	for key, slot := range w.cell.many().slots {
		if strings.HasPrefix(key[2:], path) && slices.ContainsFunc(slot, func(r *record) bool { return w.s.contentAt(w.cell.many(), r, w.now) }) {
			return true
		}
	}
	return false
}

// isElementOf reports whether a slot path is an element of the set at path.
func isElementOf(slotPath, path string) bool {
	return len(slotPath) > len(path) && strings.HasPrefix(slotPath, path) && isBin(slotPath[len(path)])
}

// isBin reports whether c starts a msgpack binary, which is a set element in a slot path.
func isBin(c byte) bool { return c == 0xc4 || c == 0xc5 || c == 0xc6 }

// elementsOf returns the elements of the set at path, encoded, in no order.
func (s renderer) elementsOf(m *many, path string, nowMillis uint64) [][]byte {
	var list [][]byte
	for _, slot := range m.slots {
		if r := slot[0]; r.kind == slotElement && isElementOf(r.path(), path) && len(s.alive(m, slot, nowMillis)) > 0 {
			list = append(list, element(r.path()[len(path):]))
		}
	}
	return list
}

// element unwraps the element at the end of a slot path.
func element(bin string) []byte {
	r := wire.NewReader([]byte(bin))
	return r.Bin()
}

// renderSet encodes a set as a sorted array. It sorts elements in place.
func renderSet(elements [][]byte) []byte {
	slices.SortFunc(elements, wire.Compare)
	b := wire.AppendArray(nil, len(elements))
	for _, e := range elements {
		b = append(b, e...)
	}
	return b
}

// node is one path in an object while the object is rendered. Concurrent writes may have
// left a leaf, a set and fields at it.
type node struct {
	fields map[string]*node
	set    [][]byte // encoded elements
	leaf   []byte   // encoded value
	top    *record  // latest record at or below the path
	own    *record  // latest record of leaf and set
}

// renderObject encodes an object as a map. If concurrent writes have left both a leaf and
// fields at one path, the later one is visible.
func (s renderer) renderObject(m *many, nowMillis uint64) []byte {
	root := &node{}
	for _, key := range sortedSlots(m) {
		list := s.alive(m, m.slots[key], nowMillis)
		if len(list) == 0 || kindOf(list[0].kind, list[0].path()) != Object {
			continue
		}
		s.addSlot(root, list, s.latest(list))
	}
	if len(root.fields) == 0 {
		return wire.AppendMap(nil, 0)
	}
	return root.render(s.Store)
}

// addSlot adds the content of one slot to the tree under n. list are the slot's records,
// and top is the latest.
func (s renderer) addSlot(n *node, list []*record, top *record) {
	rest := wire.NewReader([]byte(top.path()))
	var bin []byte
	for {
		if n.top == nil || s.wins(top, n.top) {
			n.top = top
		}
		if rest.Len() == 0 {
			break
		}
		if raw := rest.Raw(); len(raw) > 0 && isBin(raw[0]) {
			inner := wire.NewReader(raw)
			bin = inner.Bin()
			break
		} else {
			inner := wire.NewReader(raw)
			name := string(inner.Str())
			if n.fields == nil {
				n.fields = make(map[string]*node)
			}
			child := n.fields[name]
			if child == nil {
				child = &node{}
				n.fields[name] = child
			}
			n = child
		}
		if rest.Err() != nil {
			return
		}
	}
	later := n.own == nil || s.wins(top, n.own)
	switch {
	case isEmptySet(top):
	case top.kind == slotMarker:
		if n.fields == nil {
			n.fields = make(map[string]*node)
		}
		return
	case bin != nil:
		n.set = append(n.set, bin)
	case later || n.leaf == nil:
		n.leaf = s.renderLeaf(top, list)
	}
	if later {
		n.own = top
	}
}

// render encodes the part of the object at n.
func (n *node) render(s *Store) []byte {
	below := n.fields != nil
	if below && n.own != nil {
		below = n.own != n.top // the latest record at or below n belongs to a field
	}
	switch {
	case below:
		names := make([]string, 0, len(n.fields))
		for name := range n.fields {
			names = append(names, name)
		}
		slices.Sort(names)
		b := wire.AppendMap(nil, len(names))
		for _, name := range names {
			b = append(wire.AppendStr(b, name), n.fields[name].render(s)...)
		}
		return b
	case n.leaf != nil && n.own.kind != slotElement && !isEmptySet(n.own):
		return n.leaf
	}
	return renderSet(n.set)
}

// pointer returns a slot path as a JSON pointer. A set element appears as JSON.
func pointer(path string) string {
	var b strings.Builder
	for r := wire.NewReader([]byte(path)); r.Len() > 0; {
		raw := r.Raw()
		if r.Err() != nil {
			break
		}
		inner := wire.NewReader(raw)
		b.WriteByte('/')
		if isBin(raw[0]) {
			b.WriteString(Value{string(inner.Bin())}.String())
		} else {
			b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(string(inner.Str())))
		}
	}
	return b.String()
}
