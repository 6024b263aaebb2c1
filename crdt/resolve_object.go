package crdt

import (
	"iter"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// branch is one place in a merge of objects: a map, a set or a scalar, or
// nothing yet. by are the candidates that wrote it.
type branch struct {
	holds  wire.Type // TypeMap, TypeArray, TypeNil (nothing), or else a scalar's
	fields map[string]*branch
	marked bool // a map in which a patch set nothing; it shows while it has no fields
	items  [][]byte
	scalar []byte
	by     []int
}

// mergeObjects replays the candidates in the order of their stamps as patches.
// Replaying a sorted set is what makes this a join: a leaf's winner is the greatest
// (stamp, dot) that wrote it, whoever else wrote elsewhere in the same object.
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

// patch merges raw, which is canonical, into b.
func (b *branch) patch(raw []byte, by int) {
	r := wire.NewReader(raw)
	switch t := r.Peek(); t {
	case wire.TypeMap:
		b.become(t)
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
		b.become(t)
		b.items = slices.AppendSeq(b.items, arrayElements(raw))
		b.by = append(b.by, by)
	default:
		*b = branch{holds: t, scalar: raw, by: []int{by}}
	}
}

// become empties b unless it holds t already.
func (b *branch) become(t wire.Type) {
	if b.holds != t {
		*b = branch{holds: t}
	}
	if t == wire.TypeMap && b.fields == nil {
		b.fields = make(map[string]*branch)
	}
}

// render encodes b and marks who is in it. ok is false if nothing is left of b.
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
			return raw, true // its fields' writers are marked
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
