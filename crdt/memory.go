package crdt

import "unsafe"

// What the store takes in memory beside the bytes of keys, paths and values, per key,
// per record and per slot: structures, what the allocator rounds up to, and the tables
// that point to them. TestMemoryIsWhatTheHeapHolds measures them.
const (
	keyMemory    = 112 // a cell and its place in the index
	recordMemory = int(unsafe.Sizeof(record{})) + 32
	extMemory    = int(unsafe.Sizeof(ext{})) + 8
	manyMemory   = 640 // slots of a key that is not one plain register, and its view
	slotMemory   = 112 // a place among them
	pastMemory   = int(unsafe.Sizeof(past{}))
)

// memory is what a record of n bytes of value takes at a slot. Values at slots inside
// a key are also in the view that readers see.
func (kind slotKind) memory(path string, n int) int {
	if kind == slotRegister && path == "" {
		return recordMemory + n
	}
	return recordMemory + extMemory + slotMemory + 3*len(path) + 2*n
}

// memory is what r takes.
func (r *record) memory() int {
	n := r.kind.memory(r.path(), len(r.val()))
	if r.ext != nil {
		n += len(r.ext.past) * pastMemory
		if r.kind == slotRegister && r.ext.path == "" {
			n += extMemory
		}
	}
	return n
}

// memory is what a cell takes without its records, once it has any.
func (c *cell) memory() int {
	return keyMemory + len(c.key())
}

// Memory returns about how many bytes the store takes: live records, removals among
// them, with keys and overhead, and the journal of conflicts.
func (s *Store) Memory() int { return s.memory + s.conflictBytes }

// counted adds r to the memory in use, or takes it off if n is -1.
func (s *Store) counted(r *record, n int32) {
	c := r.cell
	was := c.live
	c.live += uint32(n)
	s.memory += int(n) * r.memory()
	if was == 0 || c.live == 0 {
		s.memory += int(n) * c.memory()
	}
}
