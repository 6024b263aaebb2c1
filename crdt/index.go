package crdt

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/ordered"
)

// keyIndex finds the cell of a key without a lock, and lists cells in the order of their keys. Any
// goroutine may call Load and ascend; the other methods belong to the owner of the store.
type keyIndex struct {
	cells *cellTable
	order *ordered.List[*cell]
}

func newKeyIndex() keyIndex {
	cells := newCellTable()
	all := func(yield func(*cell) bool) { cells.each(yield) }
	return keyIndex{cells, ordered.New(func(a, b *cell) int { return strings.Compare(a.key(), b.key()) }, all, cells.len)}
}

// Load returns the cell of key.
func (x keyIndex) Load(key string) (*cell, bool) {
	c := x.cells.find(key)
	return c, c != nil
}

func (x keyIndex) add(c *cell) {
	x.cells.add(c)
	x.order.Note(c, false)
}

func (x keyIndex) remove(c *cell) {
	x.cells.remove(c)
	x.order.Note(c, true)
}

// ascend calls f for the cells with keys in r, in their order, until f returns false.
func (x keyIndex) ascend(r KeyRange, f func(c *cell) bool) {
	x.order.Ascend(newCell(r.From), func(c *cell) bool { return (r.To == "" || c.key() < r.To) && f(c) })
}
