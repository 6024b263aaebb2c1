package crdt

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// tableSegments returns the segments of t, each once.
func tableSegments(t *cellTable) (list []*segment) {
	for i := range t.directory.Load().segments {
		if s := t.directory.Load().segments[i].Load(); !slices.Contains(list[max(len(list)-1, 0):], s) {
			list = append(list, s)
		}
	}
	return list
}

// Whatever comes and goes, the table finds what is there and nothing else, and lists it once.
func TestATableHoldsWhatWasAddedAndNotRemoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, there := newCellTable(), make(map[string]*cell)
		some := rapid.IntRange(0, 3*segmentCells)
		check := func(key string) {
			if got := table.find(key); got != there[key] {
				t.Fatalf("key %s: %p, want %p", key, got, there[key])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for i := range some.Draw(t, "keys") {
					if key := fmt.Sprint(i); there[key] == nil {
						there[key] = newCell(key)
						table.add(there[key])
					}
				}
			},
			"remove": func(t *rapid.T) {
				from := some.Draw(t, "from")
				for i := range some.Draw(t, "keys") {
					key := fmt.Sprint(from + i)
					if c := there[key]; c != nil {
						delete(there, key)
						table.remove(c)
						table.remove(c) // changes nothing
					}
				}
			},
			"": func(t *rapid.T) {
				for i := range 3 * segmentCells {
					check(fmt.Sprint(i))
				}
				listed := make(map[*cell]bool)
				table.each(func(c *cell) bool {
					if there[c.key()] != c || listed[c] {
						t.Fatalf("key %s is listed as it is not, or twice", c.key())
					}
					listed[c] = true
					return true
				})
				if len(listed) != len(there) || table.len() != len(there) {
					t.Fatalf("%d listed, %d counted, want %d", len(listed), table.len(), len(there))
				}
			},
		})
	})
}

// A write moves the cells of one segment at most, and a table that has shrunk is as small as one that
// never grew.
func TestATableGrowsAndShrinksBySegments(t *testing.T) {
	table := newCellTable()
	cells := make([]*cell, 200*segmentCells)
	for i := range cells {
		cells[i] = newCell(fmt.Sprint(i))
		table.add(cells[i])
	}
	list := tableSegments(table)
	for _, s := range list {
		if s.count > segmentCells {
			t.Errorf("a segment has %d cells, more than %d", s.count, segmentCells)
		}
	}
	if n := len(list); n > 200*3 {
		t.Errorf("%d segments for %d cells", n, len(cells))
	}
	for _, c := range cells {
		table.remove(c)
	}
	if n := len(tableSegments(table)); n != 1 {
		t.Errorf("%d segments without cells, want 1", n)
	}
}

// A segment from which all cells have gone is as it was before they came: no bucket counts cells that
// it passed on. In ten tables, the hashes leave no bucket too small with a chance of one to 10^20.
func TestAnEmptySegmentCountsNoCells(t *testing.T) {
	for range 10 {
		table := newCellTable()
		var cells []*cell
		for i := range segmentCells {
			cells = append(cells, newCell(fmt.Sprint(i)))
			table.add(cells[i])
		}
		for _, c := range cells {
			table.remove(c)
		}
		for i := range table.segment(0).buckets {
			if m := table.segment(0).buckets[i].marks.Load(); m != 0 {
				t.Errorf("an empty bucket has the marks %x", m)
			}
		}
	}
}

// Readers find and list the cells that stay while others come and go.
func TestReadersOfATableFindWhatStays(t *testing.T) {
	table := newCellTable()
	stay, come := make([]*cell, 2*segmentCells), make([]*cell, 20*segmentCells)
	for i := range stay {
		stay[i] = newCell(fmt.Sprint("stay-", i))
		table.add(stay[i])
	}
	for i := range come {
		come[i] = newCell(fmt.Sprint("come-", i))
	}
	var done atomic.Bool
	var readers sync.WaitGroup
	defer readers.Wait()
	defer done.Store(true)
	var rounds [2]atomic.Int64
	readers.Go(func() {
		for ; !done.Load(); rounds[0].Add(1) {
			for _, c := range stay {
				if table.find(c.key()) != c {
					t.Errorf("key %s is not found", c.key())
					return
				}
			}
		}
	})
	readers.Go(func() {
		for ; !done.Load(); rounds[1].Add(1) {
			listed := make(map[*cell]bool)
			table.each(func(c *cell) bool {
				listed[c] = true
				return true
			})
			for _, c := range stay {
				if !listed[c] {
					t.Errorf("key %s is not listed", c.key())
					return
				}
			}
		}
	})
	for n := 0; (n < 5 || rounds[0].Load() < 5 || rounds[1].Load() < 5) && !t.Failed(); n++ {
		for _, c := range come {
			table.add(c)
		}
		for _, c := range come {
			table.remove(c)
		}
	}
}
