package crdt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// VitalBytes is how much memory an operation with Op.Vital may add in a store that is
// full.
const VitalBytes = 2 << 10

// FullError refuses a local write that would add to a store that has no room for it.
// Deletes, and writes that take no more than what they replace, are never refused.
type FullError struct {
	Needs int // bytes that the write would add
	Used  int // Store.Memory
	Limit int // Config.MaxBytes
}

// Error names the numbers and what helps.
func (e *FullError) Error() string {
	return fmt.Sprintf("the store is full: the write would add about %d bytes to the %d in use, and the limit is %d; delete something, or raise the limit", e.Needs, e.Used, e.Limit)
}

// admit refuses ops if they would add to the store beyond its limit. What they add is
// estimated from what they meet; a key that an earlier operation of the unit wrote is
// taken for absent, so that what it frees counts once.
func (s *Store) admit(ops []Op, kinds []Kind) error {
	free := s.maxBytes - s.Memory()
	if s.maxBytes == 0 || atMost(ops) <= free {
		return nil
	}
	adds := 0
	written := make(map[string]bool)
	for i := range ops {
		op := &ops[i]
		g := growth{s: s}
		if c, ok := s.index.Load(op.Key); ok && !written[op.Key] {
			g.cell, g.many = c, c.many()
		}
		written[op.Key] = true
		n := g.of(op, kinds[i])
		if op.Vital && n > 0 {
			n = max(n-VitalBytes, 0)
		}
		adds += n
	}
	if adds <= max(free, 0) {
		return nil
	}
	s.stats.Refused++
	return &FullError{Needs: adds, Used: s.Memory(), Limit: s.maxBytes}
}

// atMost is more than ops can add, told without a look at the store: far from the limit
// nothing else is asked.
func atMost(ops []Op) (n int) {
	for i := range ops {
		op := &ops[i]
		path := 0
		for _, segment := range op.Path {
			path += len(segment) + 5
		}
		each := slotCounter.memory("", counterBytes) + 3*path
		n += keyMemory + len(op.Key) + manyMemory + each + 2*len(op.Value.raw)
		if t := op.Value.wireType(); op.Verb == Patch || t == wire.TypeMap || t == wire.TypeArray {
			leaves := min(len(op.Value.raw), MaxLeaves) // a byte or more each
			n += leaves * (each + 3*min(len(op.Value.raw), wire.MaxPathBytes))
		}
		for _, v := range op.Values {
			n += each + 3*len(v.raw)
		}
	}
	return n
}

// growth estimates what an operation adds to the memory of a key: below 0 it frees some.
type growth struct {
	s    *Store
	cell *cell // nil: the key is taken for absent
	many *many // nil: for a plain one
}

func (g *growth) of(op *Op, kind Kind) int {
	path := pathOf(op.Path)
	var plain *record
	n := 0
	if g.cell == nil {
		n += keyMemory + len(op.Key)
	} else if g.many == nil {
		plain = g.cell.view.Load()
	}
	switch {
	case op.Verb == Remove:
		return 0 // a removal takes what the element took
	case op.Verb == Delete:
		if plain != nil {
			return -len(plain.val())
		}
		return -g.freed(path)
	case kind == Register && path == "" && g.many == nil:
		n += slotRegister.memory("", len(op.Value.raw))
		if op.Expiry != 0 {
			n += extMemory
		}
		if plain != nil {
			n -= plain.memory()
		}
		return n
	}
	if g.many == nil {
		n += manyMemory
	}
	if plain != nil {
		n -= len(plain.val()) // a removal stays
	}
	switch {
	case op.Verb == Increment:
		return n + g.leaf(slotCounter, path, counterBytes)
	case op.Verb == Add:
		return n + g.add(path, op.Values)
	case kind == Object && op.Verb == Put:
		n -= g.freed(path)
		g.many = nil // by then there is nothing
		return n + g.patch(path, op.Value.bytes())
	case kind == Object:
		return n + g.patch(path, op.Value.bytes())
	case kind == Set:
		return n + g.elements(path, op.Value.bytes())
	}
	return n + g.leaf(leafSlot(kind), path, len(op.Value.raw))
}

// counterBytes is the longest value of a counter's record.
const counterBytes = 19

// leaf is what a value of n bytes at one slot adds, in place of all that is there and
// below; only a count leaves those of other actors.
func (g *growth) leaf(kind slotKind, path string, n int) int {
	adds := kind.memory(path, n)
	if g.many == nil {
		return adds
	}
	slot := g.many.slots[slotKey(kind, path)]
	if !slices.ContainsFunc(slot, (*record).counts) {
		return adds - g.freed(path)
	}
	for _, r := range slot {
		if kind != slotCounter || r.tomb || r.actor == g.s.self.index {
			adds -= r.memory()
		}
	}
	return adds
}

// patch is what the leaves of a map add.
func (g *growth) patch(path string, raw []byte) (n int) {
	r := wire.NewReader(raw)
	sets := false
	for range r.MapLen() {
		at := string(wire.AppendStr([]byte(path), r.Str()))
		kind := r.Peek()
		sets = sets || kind != wire.TypeNil
		value := r.Raw()
		switch kind {
		case wire.TypeNil:
			n -= g.freed(at)
		case wire.TypeMap:
			n += g.patch(at, value)
		case wire.TypeArray:
			n += g.elements(at, value)
		default:
			n += g.leaf(slotRegister, at, len(value))
		}
	}
	if !sets && n < 0 {
		n += slotMarker.memory(path, 1)
	} else if !sets {
		n += g.empty(slotMarker, path)
	}
	return n
}

// empty is what the mark of an object or set without content adds: nothing where there
// is some.
func (g *growth) empty(kind slotKind, path string) int {
	if g.many != nil {
		if content, _ := g.many.removable(path); len(content) > 0 {
			return 0
		}
	}
	return kind.memory(path, 1)
}

// elements is what those of an array add to a set, or in place of what else is there.
func (g *growth) elements(path string, raw []byte) int {
	r := wire.NewReader(raw)
	list := make([]Value, r.ArrayLen())
	if len(list) == 0 && path != "" {
		return g.empty(slotRegister, path)
	}
	for i := range list {
		list[i] = Value{string(r.Raw())}
	}
	return g.add(path, list)
}

func (g *growth) add(path string, list []Value) (n int) {
	there := false // a set
	if g.many != nil {
		for _, slot := range g.many.slots {
			there = there || slot[0].kind == slotElement && isElementOf(slot[0].path(), path) && slices.ContainsFunc(slot, (*record).counts)
		}
	}
	if !there {
		n -= g.freed(path)
	}
	for _, v := range list {
		if at := elementPath(path, v); !there || len(g.many.slots[slotKey(slotElement, at)]) == 0 {
			n += slotElement.memory(at, 0)
		}
	}
	return n
}

// freed is what goes when all at and below path is removed: see writer.clearBelow.
func (g *growth) freed(path string) (n int) {
	if g.many == nil {
		return 0
	}
	below, seen := g.many.removable(path)
	if len(below) == 0 {
		return 0
	}
	if len(below) == 1 && below[0].path() == path || !g.s.contiguous(seen) {
		for _, r := range below { // a removal of each stays
			for _, o := range g.many.slots[slotKey(r.kind, r.path())] {
				n += o.memory()
			}
			n -= r.kind.memory(r.path(), 0)
		}
		return n
	}
	for key, slot := range g.many.slots {
		if strings.HasPrefix(key[2:], path) {
			for _, r := range slot {
				n += r.memory()
			}
		}
	}
	return n - slotClear.memory(path, 0)
}
