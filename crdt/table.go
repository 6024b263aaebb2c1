package crdt

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
)

// cellTable finds cells by their keys. The owner of the store changes it, and any goroutine may read it
// meanwhile, without a lock.
//
// The cells are in segments of one size, which a directory finds by the first bits of the hash of a
// key. A full segment is divided by the next bit, so a write moves the cells of one segment, however
// many keys there are. Two small halves of a former segment are joined again. A segment that has been
// divided or joined never changes again, so a reader that still has it finds what was there.
type cellTable struct {
	seed      maphash.Seed
	directory atomic.Pointer[directory]
	count     atomic.Int64
}

func newCellTable() *cellTable {
	t := &cellTable{seed: maphash.MakeSeed()}
	d, s := newDirectory(1), new(segment)
	d.segments[0].Store(s)
	d.segments[1].Store(s)
	t.directory.Store(d)
	return t
}

func (t *cellTable) hash(key string) cellHash { return cellHash(maphash.Comparable(t.seed, key)) }

// len returns the number of cells.
func (t *cellTable) len() int { return int(t.count.Load()) }

// find returns the cell of key, nil if there is none. The fewer instructions it takes, the more reads
// a processor overlaps while it waits for memory, so find looks at the first likely place and leaves
// the rest to search.
func (t *cellTable) find(key string) *cell {
	h := cellHash(maphash.Comparable(t.seed, key)) // the compiler does not inline hash
	b := &t.segment(h).buckets[h.bucket()]
	m := marks(b.marks.Load())
	found := m.equal(h.mark())
	switch {
	case found != 0:
		if c := b.cells[bits.TrailingZeros64(found)/8].Load(); c != nil && c.key() == key {
			return c
		}
	case m < onePassed:
		return nil
	}
	return t.search(key)
}

// search returns the cell of key, nil if there is none.
func (t *cellTable) search(key string) *cell {
	h := t.hash(key)
	s, i := t.segment(h), h.bucket()
	for range segmentBuckets {
		b := &s.buckets[i]
		m := marks(b.marks.Load())
		for found := m.equal(h.mark()); found != 0; found &= found - 1 {
			if c := b.cells[bits.TrailingZeros64(found)/8].Load(); c != nil && c.key() == key {
				return c
			}
		}
		if m < onePassed {
			break
		}
		i = (i + 1) % segmentBuckets
	}
	return nil
}

// add adds c, whose key has no cell in the table.
func (t *cellTable) add(c *cell) {
	h := t.hash(c.key())
	s := t.segment(h)
	for ; s.count == segmentCells; s = t.segment(h) {
		t.divide(h, s)
	}
	s.add(c, h)
	t.count.Add(1)
}

// remove removes c if it is in the table.
func (t *cellTable) remove(c *cell) {
	h := t.hash(c.key())
	s := t.segment(h)
	if !s.remove(c, h) {
		return
	}
	t.count.Add(-1)
	for s.depth > 0 {
		half := t.segment(h ^ 1<<(64-s.depth))
		if half.depth != s.depth || s.count+half.count > segmentCells/4 {
			return
		}
		joined := &segment{depth: s.depth - 1}
		for _, s := range []*segment{s, half} {
			s.each(func(c *cell) bool {
				joined.add(c, t.hash(c.key()))
				return true
			})
		}
		t.put(h, joined)
		s = joined
	}
}

// each calls f for all cells until f returns false. It may miss cells that are added or removed during
// the call, and may meet a cell twice then.
func (t *cellTable) each(f func(*cell) bool) {
	d := t.directory.Load()
	for i := uint(0); i < uint(len(d.segments)); {
		s := d.segments[i].Load()
		if !s.each(f) {
			return
		}
		covers := d.depth() - s.depth
		i = (i>>covers + 1) << covers
	}
}

func (t *cellTable) segment(h cellHash) *segment {
	d := t.directory.Load()
	return d.segments[h>>(d.shift&63)].Load()
}

// divide divides the segment s of h into two.
func (t *cellTable) divide(h cellHash, s *segment) {
	if d := t.directory.Load(); s.depth == d.depth() {
		longer := newDirectory(d.depth() + 1)
		for i := range longer.segments {
			longer.segments[i].Store(d.segments[i/2].Load())
		}
		t.directory.Store(longer)
	}
	next := cellHash(1) << (63 - s.depth)
	zero, one := &segment{depth: s.depth + 1}, &segment{depth: s.depth + 1}
	s.each(func(c *cell) bool {
		if h := t.hash(c.key()); h&next == 0 {
			zero.add(c, h)
		} else {
			one.add(c, h)
		}
		return true
	})
	t.put(h&^next, zero)
	t.put(h|next, one)
}

// put enters s, the segment of h, into the directory.
func (t *cellTable) put(h cellHash, s *segment) {
	d := t.directory.Load()
	covers := d.depth() - s.depth
	first := h >> d.shift >> covers << covers
	for i := range cellHash(1) << covers {
		d.segments[first+i].Store(s)
	}
}

// directory has the segment of each value of the first bits of a hash. A segment of a lower depth
// occurs several times. The directory takes about a byte a key at most, and never becomes shorter.
type directory struct {
	shift    uint // 64 less the number of bits, which is at least 1
	segments []atomic.Pointer[segment]
}

func newDirectory(depth uint) *directory {
	return &directory{64 - depth, make([]atomic.Pointer[segment], 1<<depth)}
}

func (d *directory) depth() uint { return 64 - d.shift }

// segment is a hash table of the cells whose hashes have the first depth bits in common. With the
// word that the Go allocator puts before a large object, a segment takes 2 KiB, and each
// bucket a cache line.
type segment struct {
	depth   uint
	count   int // number of cells; only the owner uses it
	_       [5]uint64
	buckets [segmentBuckets]bucket
}

const (
	segmentBuckets = 31
	segmentCells   = segmentBuckets * bucketCells * 3 / 4 // the cells of a full segment; at most 255, see marks
	bucketCells    = 7
)

// bucket holds cells. A cell for which its bucket has no room is in the next one that has.
type bucket struct {
	marks atomic.Uint64 // a marks
	cells [bucketCells]atomic.Pointer[cell]
}

// add adds c, whose key has the hash h. The segment is not full.
func (s *segment) add(c *cell, h cellHash) {
	i := h.bucket()
	for {
		b := &s.buckets[i]
		m := marks(b.marks.Load())
		if at := m.vacant(); at < bucketCells {
			b.cells[at].Store(c)
			b.marks.Store(uint64(m | h.mark()<<(8*at)))
			break
		}
		b.marks.Store(uint64(m + onePassed))
		i = (i + 1) % segmentBuckets
	}
	s.count++
}

// remove removes c, whose key has the hash h, and reports whether c was in the segment.
func (s *segment) remove(c *cell, h cellHash) bool {
	i := h.bucket()
	for n := range segmentBuckets {
		b := &s.buckets[i]
		if at := b.index(c); at < bucketCells {
			b.marks.Store(b.marks.Load() &^ (0xff << (8 * at)))
			b.cells[at].Store(nil)
			s.count--
			for j := h.bucket(); n > 0; n, j = n-1, (j+1)%segmentBuckets {
				s.buckets[j].marks.Store(s.buckets[j].marks.Load() - onePassed)
			}
			return true
		}
		i = (i + 1) % segmentBuckets
	}
	return false
}

// index returns the index of c in b, bucketCells if it is not there.
func (b *bucket) index(c *cell) int {
	at := 0
	for at < bucketCells && b.cells[at].Load() != c {
		at++
	}
	return at
}

// each calls f for the cells of the segment until f returns false, and then returns false.
func (s *segment) each(f func(*cell) bool) bool {
	for i := range s.buckets {
		for at := range bucketCells {
			if c := s.buckets[i].cells[at].Load(); c != nil && !f(c) {
				return false
			}
		}
	}
	return true
}

// cellHash is the hash of a key. The directory uses its first bits, a segment the last 39.
type cellHash uint64

// bucket returns the bucket of a key in its segment.
func (h cellHash) bucket() uint { return uint(h&math.MaxUint32) * segmentBuckets >> 32 }

// mark returns the mark of a cell with this hash, a byte that is not 0.
func (h cellHash) mark() marks { return marks(h>>32&0x7f | 0x80) }

// marks has a byte for each place of a bucket, 0 if the place is vacant, and in its last byte the number
// of cells for which the bucket had no room. A segment has no more cells than a byte can count.
type marks uint64

const (
	eachPlace = 0x01010101010101 // 1 in the byte of each place
	onePassed = 1 << 56
)

// equal returns marks in which the first bit of each byte is set that has the mark m. It may also be set
// in other bytes.
func (x marks) equal(m marks) uint64 {
	d := uint64(x ^ m*eachPlace)
	return (d - eachPlace) & ^d & (0x80 * eachPlace)
}

// vacant returns the index of the first vacant place, bucketCells if there is none.
func (x marks) vacant() int { return bits.TrailingZeros64(uint64(^x&(0x80*eachPlace))|1<<56) / 8 }
