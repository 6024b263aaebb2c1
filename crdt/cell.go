package crdt

import (
	"sync/atomic"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// cell is the state of one key. The bytes of the key lie right behind the cell in the
// same allocation, so a reader that has compared the key finds the view in its cache.
type cell struct {
	// view is the record that readers see. For a plain key, which holds one register at
	// most, it is that register. For another key it is a rendered record, or
	// many.staleView while the key must be rendered again.
	view    atomic.Pointer[record]
	len     uint16 // length of the key in bytes
	records uint32 // number of live records; only the store's owner reads and writes it
}

// key returns the key. The string shares the memory of c and keeps c alive.
func (c *cell) key() string {
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c))), c.len)
}

// cellWithKey is a cell with B, a byte array, for its key. The sizes of the arrays follow
// the allocator's size classes.
type cellWithKey[B any] struct {
	cell
	buf B
}

// newCell returns an empty cell with a copy of key, which must be valid.
func newCell(key string) *cell {
	switch n := len(key); {
	case n <= 16:
		return withKey(new(cellWithKey[[16]byte]), key)
	case n <= 32:
		return withKey(new(cellWithKey[[32]byte]), key)
	case n <= 48:
		return withKey(new(cellWithKey[[48]byte]), key)
	case n <= 64:
		return withKey(new(cellWithKey[[64]byte]), key)
	case n <= 80:
		return withKey(new(cellWithKey[[80]byte]), key)
	case n <= 112:
		return withKey(new(cellWithKey[[112]byte]), key)
	case n <= 176:
		return withKey(new(cellWithKey[[176]byte]), key)
	case n <= 240:
		return withKey(new(cellWithKey[[240]byte]), key)
	case n <= 496:
		return withKey(new(cellWithKey[[496]byte]), key)
	}
	return withKey(new(cellWithKey[[wire.MaxKeyBytes]byte]), key)
}

// withKey copies key behind the cell.
func withKey[B any](c *cellWithKey[B], key string) *cell {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c.buf)), unsafe.Sizeof(c.buf)), key)
	c.len = uint16(len(key))
	return &c.cell
}
