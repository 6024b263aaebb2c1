package crdt

import (
	"sync/atomic"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// cell is one key, which lies right behind it in the same allocation: a reader who
// compared the key has the view in its cache.
type cell struct {
	// view is what readers see: the one register of a plain key; of another key a
	// rendered record, or its stale one when it must be rendered anew.
	view atomic.Pointer[record]
	len  uint16 // of the key
	live uint32 // records; the store's owner's
}

// key returns the key, which lives as long as c.
func (c *cell) key() string {
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c))), c.len)
}

type celled[B any] struct {
	cell
	buf B
}

// newCell returns an empty cell with a copy of key, a valid one.
func newCell(key string) *cell {
	switch n := len(key); {
	case n <= 16:
		return keyed(new(celled[[16]byte]), key)
	case n <= 32:
		return keyed(new(celled[[32]byte]), key)
	case n <= 48:
		return keyed(new(celled[[48]byte]), key)
	case n <= 64:
		return keyed(new(celled[[64]byte]), key)
	case n <= 80:
		return keyed(new(celled[[80]byte]), key)
	case n <= 112:
		return keyed(new(celled[[112]byte]), key)
	case n <= 176:
		return keyed(new(celled[[176]byte]), key)
	case n <= 240:
		return keyed(new(celled[[240]byte]), key)
	case n <= 496:
		return keyed(new(celled[[496]byte]), key)
	}
	return keyed(new(celled[[wire.MaxKeyBytes]byte]), key)
}

func keyed[B any](c *celled[B], key string) *cell {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c.buf)), unsafe.Sizeof(c.buf)), key)
	c.len = uint16(len(key))
	return &c.cell
}
