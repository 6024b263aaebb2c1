package crdt

import (
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// emptySet is the value of a register leaf that says: here is a set without
// elements. Beside elements it means nothing.
const emptySet = "\x90"

func isEmptySet(r *record) bool { return r.kind == slotRegister && r.val() == emptySet }

// patch merges the map in raw into the object at path: one leaf a scalar, arrays
// as sets, nil as a removal. A patch that sets no field makes sure of the object itself.
func (w *writer) patch(path string, raw []byte) {
	sets, removed := false, false
	r := wire.NewReader(raw)
	for range r.MapLen() {
		at := string(wire.AppendStr([]byte(path), r.Str()))
		kind := r.Peek()
		sets = sets || kind != wire.TypeNil
		value := r.Raw()
		switch kind {
		case wire.TypeNil:
			removed = w.clearBelow(at) || removed
		case wire.TypeMap:
			w.clearLeaf(at, Object)
			w.patch(at, value)
		case wire.TypeArray:
			w.clearLeaf(at, Set)
			elements := wire.NewReader(value)
			k := elements.ArrayLen()
			if k == 0 && !w.holds(at) {
				w.put(slotRegister, at, emptySet)
			}
			for range k {
				w.put(slotElement, elementPath(at, Value{string(elements.Raw())}), "")
			}
		default:
			w.clearLeaf(at, Register)
			w.put(slotRegister, at, string(value))
		}
	}
	if !sets && (removed || !w.holds(path)) {
		w.mark(path)
	}
}

// nullField is the patch that removes one field.
func nullField(name string) []byte {
	return wire.AppendNil(wire.AppendStr(wire.AppendMap(nil, 1), name))
}

// mark says that there is an object at path, with fields or without. Whoever removes a
// field says so: whatever else others remove at the same moment, the object stays.
func (w *writer) mark(path string) { w.put(slotMarker, path, emptyMap) }

// holds reports whether anything is at or below path.
func (w *writer) holds(path string) bool {
	if w.cell.many() == nil {
		return false
	}
	for key, slot := range w.cell.many().slots {
		if strings.HasPrefix(key[2:], path) && slices.ContainsFunc(slot, func(r *record) bool { return r.at(w.now) }) {
			return true
		}
	}
	return false
}

// isElementOf reports whether a slot path is an element of the set at path.
func isElementOf(slotPath, path string) bool {
	return len(slotPath) > len(path) && strings.HasPrefix(slotPath, path) && isBin(slotPath[len(path)])
}

func isBin(c byte) bool { return c == 0xc4 || c == 0xc5 || c == 0xc6 }

// elementsOf returns the elements of the set at path, encoded, in no order.
func elementsOf(m *many, path string, nowMillis uint64) [][]byte {
	var list [][]byte
	for _, slot := range m.slots {
		if r := slot[0]; r.kind == slotElement && isElementOf(r.path(), path) && len(alive(slot, nowMillis)) > 0 {
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

func renderSet(elements [][]byte) []byte {
	slices.SortFunc(elements, wire.Compare)
	b := wire.AppendArray(nil, len(elements))
	for _, e := range elements {
		b = append(b, e...)
	}
	return b
}

// node is one place in an object: its leaf, its set or its fields.
type node struct {
	fields map[string]*node
	set    [][]byte
	leaf   []byte  // encoded
	top    *record // the latest record at or below
	own    *record // the latest record of leaf and set
}

// renderObject builds the map. Where a leaf and fields stand at one place, by
// concurrent writes, the later one shows.
func (s renderer) renderObject(m *many, nowMillis uint64) []byte {
	root := &node{}
	for _, key := range sortedSlots(m) {
		list := alive(m.slots[key], nowMillis)
		if len(list) == 0 || kindOf(list[0].kind, list[0].path()) != Object {
			continue
		}
		top := list[0]
		for _, r := range list[1:] {
			if s.wins(r, top) {
				top = r
			}
		}
		s.place(root, list, top)
	}
	if len(root.fields) == 0 {
		return wire.AppendMap(nil, 0)
	}
	return root.render(s.Store)
}

// place puts one slot's content into the tree.
func (s renderer) place(n *node, list []*record, top *record) {
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

func (n *node) render(s *Store) []byte {
	below := n.fields != nil
	if below && n.own != nil {
		below = n.own != n.top // the latest record is a field's
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

// pointer renders a slot path as a JSON pointer; a set element by its value.
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
