package crdt

import "unsafe"

// The overhead of the store in bytes, per key, per record and per slot, beside the bytes of
// keys, paths and values. It includes structures, the rounding of the allocator, and the
// tables that point to the structures. TestMemoryIsWhatTheHeapHolds measures it.
const (
	keyMemory     = 64 // a cell and its entry in the index
	recordMemory  = int(unsafe.Sizeof(record{})) + 32
	extMemory     = int(unsafe.Sizeof(ext{})) + 8
	manyMemory    = 640 // the many of a key with slots, and its view
	slotMemory    = 112 // the entry of one slot in many.slots
	pastMemory    = int(unsafe.Sizeof(pastEntry{}))
	outlineMemory = 48 // the entry of one slot in an outline
)

// memory returns about how many bytes a record takes at a slot, with a value of n bytes. A
// value at a slot inside a key counts twice, because the rendered view holds a copy.
func (kind slotKind) memory(path string, n int) int {
	if kind == slotRegister && path == "" {
		return recordMemory + n
	}
	return recordMemory + extMemory + slotMemory + 3*len(path) + 2*n
}

// memory returns about how many bytes r takes.
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

// memory returns about how many bytes a cell with records takes without the records.
func (c *cell) memory() int {
	return keyMemory + len(c.key())
}

// Memory returns about how many bytes the store takes: all live records, which include
// removals, their keys and overhead, the conflict journal, and the order of the slots of large keys
// whose pages are read.
func (s *Store) Memory() int { return s.memory + s.conflictBytes + s.outlineBytes }

// addMemory adds the memory of r to the memory in use if n is 1, and subtracts it if n is
// -1. The memory of the key comes with its first record and goes with its last.
func (s *Store) addMemory(r *record, n int32) {
	c := r.cell
	was := c.records
	c.records += uint32(n)
	s.memory += int(n) * r.memory()
	if was == 0 || c.records == 0 {
		s.memory += int(n) * c.memory()
	}
}
