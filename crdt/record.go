package crdt

import (
	"cmp"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// slotKind is what a record is, the last part of its slot's identity. Values are
// wire format; those from firstUnknown on come from a later version and are kept
// and relayed unread.
type slotKind uint16

const (
	slotRegister slotKind = iota + 1 // one leaf, last write wins
	slotElement                      // one element of a set
	slotMax
	slotCounter
	slotSibling
	slotMarker            // an object that is empty
	slotClear             // removes everything at and below its path
	firstUnknown slotKind = 64
)

// lww reports whether one record of the slot wins by stamp; of other slots all
// records live that no other covers.
func (k slotKind) lww() bool { return k == slotRegister || k == slotMarker }

// A record is one mutation. What readers use of it never changes once it is in a
// cell's view; pos, ext.past and ext.gone belong to the store's owner.
type record struct {
	cell  *cell
	data  *byte // the value, mostly right behind the record; see val
	stamp clock.Timestamp
	seq   uint64
	ext   *ext // nil for most plain registers
	actor uint32
	len   uint32 // of data
	pos   int32  // in the actor's live list, dead if none
	kind  slotKind
	tomb  bool // a removal
	shard uint8
} // 56 bytes: with 200 of value it fills a size class of the allocator

// val returns the canonical value; of an element nothing, its path names it.
func (r *record) val() string { return unsafe.String(r.data, r.len) }

// setVal makes r share val.
func (r *record) setVal(val string) { r.data, r.len = unsafe.StringData(val), uint32(len(val)) }

const dead = -1

// ext holds what plain registers rarely need.
type ext struct {
	path   string // of the slot inside the key
	past   []past // what the writer had seen at the slot
	expiry uint64 // Unix milliseconds, 0 for never
	gone   bool   // the expiry was reported

	// Of a rendered view only:
	rendered Kind
	version  Version
	siblings []Sibling
}

// past says that every dot of the actor up to seq, at the record's slot (for a
// clear: below its path), was seen by its writer and is overwritten.
type past struct {
	actor uint32
	seq   uint64
}

func (r *record) path() string {
	if r.ext == nil {
		return ""
	}
	return r.ext.path
}

func (r *record) past() []past {
	if r.ext == nil {
		return nil
	}
	return r.ext.past
}

func (r *record) expiry() uint64 {
	if r.ext == nil {
		return 0
	}
	return r.ext.expiry
}

// live reports whether r is part of the state.
func (r *record) live() bool { return r.pos != dead }

// counts reports whether r is content: neither a removal nor a clear.
func (r *record) counts() bool { return !r.tomb && r.kind != slotClear }

// shows reports whether r is content that a reader of this version may see.
func (r *record) shows() bool {
	return r.counts() && (r.ext == nil || !r.ext.gone) && r.kind < firstUnknown
}

// at reports whether r is content at nowMillis.
func (r *record) at(nowMillis uint64) bool {
	return r.counts() && (r.expiry() == 0 || r.expiry() > nowMillis)
}

// covers reports whether r overwrites the dot. A writer covers its own earlier
// dots at the slot without saying so.
func (r *record) covers(actor uint32, seq uint64) bool {
	if r.actor == actor {
		return r.seq >= seq
	}
	for _, p := range r.past() {
		if p.actor == actor {
			return p.seq >= seq
		}
	}
	return false
}

// size is about what r costs on the wire and in memory.
func (r *record) size() int { return len(r.cell.key) + int(r.len) + len(r.path()) + 64 }

// mergePast raises list by one entry.
func mergePast(list []past, actor uint32, seq uint64) []past {
	for i := range list {
		if list[i].actor == actor {
			list[i].seq = max(list[i].seq, seq)
			return list
		}
	}
	return append(list, past{actor, seq})
}

// wins reports whether a replaces b at a last-write-wins slot. The order is total:
// two records tie only when they are the same write.
func (s *Store) wins(a, b *record) bool {
	return cmp.Or(
		cmp.Compare(a.stamp, b.stamp),
		s.actors[a.actor].actor.Compare(s.actors[b.actor].actor),
		cmp.Compare(a.seq, b.seq),
	) > 0
}

// order classifies a against b, both at one slot, from their pasts alone.
func order(a, b *record) clock.Order {
	switch {
	case a.covers(b.actor, b.seq):
		return clock.After
	case b.covers(a.actor, a.seq):
		return clock.Before
	}
	return clock.Concurrent
}

// newRecord allocates a record with a copy of val behind it, in one allocation
// up to 512 bytes: one object for the collector, and the value on the next cache
// line.
func newRecord(val []byte) *record {
	n := len(val)
	switch {
	case n == 0:
		return &record{pos: dead}
	case n <= 8:
		return inline(new(inlined[[8]byte]), val)
	case n <= 24:
		return inline(new(inlined[[24]byte]), val)
	case n <= 40:
		return inline(new(inlined[[40]byte]), val)
	case n <= 56:
		return inline(new(inlined[[56]byte]), val)
	case n <= 72:
		return inline(new(inlined[[72]byte]), val)
	case n <= 104:
		return inline(new(inlined[[104]byte]), val)
	case n <= 136:
		return inline(new(inlined[[136]byte]), val)
	case n <= 168:
		return inline(new(inlined[[168]byte]), val)
	case n <= 200:
		return inline(new(inlined[[200]byte]), val)
	case n <= 232:
		return inline(new(inlined[[232]byte]), val)
	case n <= 264:
		return inline(new(inlined[[264]byte]), val)
	case n <= 328:
		return inline(new(inlined[[328]byte]), val)
	case n <= 392:
		return inline(new(inlined[[392]byte]), val)
	case n <= 456:
		return inline(new(inlined[[456]byte]), val)
	}
	r := &record{pos: dead}
	r.setVal(string(val))
	return r
}

type inlined[B any] struct {
	record
	buf B
}

func inline[B any](r *inlined[B], val []byte) *record {
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&r.buf)), unsafe.Sizeof(r.buf))
	copy(buf, val)
	r.data, r.len = &buf[0], uint32(len(val))
	r.pos = dead
	return &r.record
}
