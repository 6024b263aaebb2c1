package crdt

import (
	"iter"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// branch is one path in a merge of objects. It holds a map, a set, a scalar, or nothing yet.
type branch struct {
	holds  wire.Type          // TypeMap, TypeArray, TypeNil for nothing, or the type of a scalar
	fields map[string]*branch // of a map
	marked bool               // whether a patch without fields made the map, which then exists without fields
	items  [][]byte           // encoded elements of a set, possibly repeated
	scalar []byte             // encoded scalar
	by     []int              // indices of the candidates that wrote the content
}

// mergeObjects applies the candidates as patches in the order of their stamps. Because the
// candidates are sorted, the result does not depend on their order of arrival: the greatest
// (stamp, dot) among the writers of a leaf decides the leaf, whatever they wrote elsewhere
// in the object.
func mergeObjects(sorted []Candidate) (Value, []bool, error) {
	root := &branch{holds: wire.TypeMap}
	for i, c := range sorted {
		if err := demand(c, wire.TypeMap, ObjectMerge); err != nil {
			return Value{}, nil, err
		}
		root.patch(c.Value.bytes(), i)
	}
	used := make([]bool, len(sorted))
	b, ok := root.render(used)
	if !ok {
		b = wire.AppendMap(nil, 0)
	}
	v, err := RawValue(b)
	return v, used, err
}

// patch merges raw, which is canonical and comes from the candidate by, into b.
func (b *branch) patch(raw []byte, by int) {
	r := wire.NewReader(raw)
	switch t := r.Peek(); t {
	case wire.TypeMap:
		b.reset(t)
		sets := false
		for range r.MapLen() {
			name := string(r.Str())
			if r.Peek() == wire.TypeNil {
				r.Skip()
				delete(b.fields, name)
				continue
			}
			sets = true
			child := b.fields[name]
			if child == nil {
				child = &branch{holds: wire.TypeNil}
				b.fields[name] = child
			}
			child.patch(r.Raw(), by)
		}
		if !sets {
			b.marked, b.by = true, []int{by}
		}
	case wire.TypeArray:
		b.reset(t)
		b.items = slices.AppendSeq(b.items, arrayElements(raw))
		b.by = append(b.by, by)
	default:
		*b = branch{holds: t, scalar: raw, by: []int{by}}
	}
}

// reset empties b unless it already holds the type t.
func (b *branch) reset(t wire.Type) {
	if b.holds != t {
		*b = branch{holds: t}
	}
	if t == wire.TypeMap && b.fields == nil {
		b.fields = make(map[string]*branch)
	}
}

// render encodes b, and sets used for the candidates that contributed to it. ok is false if
// b holds nothing.
func (b *branch) render(used []bool) (raw []byte, ok bool) {
	switch b.holds {
	case wire.TypeMap:
		n, body := 0, []byte(nil)
		for _, name := range slices.Sorted(maps.Keys(b.fields)) {
			if field, ok := b.fields[name].render(used); ok {
				body = append(wire.AppendStr(body, name), field...)
				n++
			}
		}
		if n == 0 && !b.marked {
			return nil, false
		}
		raw = append(wire.AppendMap(nil, n), body...)
		if n > 0 {
			return raw, true // the fields have set used for their own candidates
		}
	case wire.TypeArray:
		raw = renderSet(unique(b.items))
	default:
		raw = b.scalar
	}
	for _, i := range b.by {
		used[i] = true
	}
	return raw, true
}

// arrayElements yields the encoded elements of a canonical array.
func arrayElements(raw []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		r := wire.NewReader(raw)
		for range r.ArrayLen() {
			if !yield(r.Raw()) {
				return
			}
		}
	}
}
