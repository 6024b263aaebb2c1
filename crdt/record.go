package crdt

import (
	"math"
	"sync/atomic"
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
// cell's view, but for ext.gone; pos and ext.past belong to the store's owner.
type record struct {
	cell  *cell
	stamp clock.Timestamp
	seq   uint64
	ext   *ext // nil for most plain registers
	actor uint32
	len   uint32 // of the value, right behind the record; see val
	pos   int32  // in the actor's live list; below 0 see dead
	kind  slotKind
	tomb  bool // a removal
	shard uint8
}

// val returns the canonical value; of an element nothing, its path names it. A value
// lies right behind its record, in one allocation, unless it is too long for that.
func (r *record) val() string {
	if r.len == 0 {
		if r.ext == nil {
			return ""
		}
		return r.ext.value
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(r), unsafe.Sizeof(*r))), r.len)
}

// dead is the pos of a record that is no part of the state. One that a later record of
// its own actor overwrote has the distance to that one instead, negated.
const dead = math.MinInt32

// overwrittenBy notes what made r, which was just removed, no part of the state.
func (r *record) overwrittenBy(o *record) {
	if o.actor == r.actor && o.seq > r.seq && o.seq-r.seq < -(dead+1) {
		r.pos = -int32(o.seq - r.seq)
	}
}

// ext holds what plain registers rarely need.
type ext struct {
	path   string      // of the slot inside the key
	past   []past      // what the writer had seen at the slot
	expiry uint64      // Unix milliseconds, 0 for never
	gone   atomic.Bool // the expiry was reported: from then on, whatever the clock says
	value  string      // that is not behind the record

	// Of a view of a key of many slots only:
	many     *many
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

// stale reports whether r stands for a view that must be rendered.
func (r *record) stale() bool {
	return r.kind == 0 && !r.tomb && r.ext.rendered == 0
}

// extend returns r's ext, made if absent.
func (r *record) extend() *ext {
	if r.ext == nil {
		r.ext = &ext{}
	}
	return r.ext
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
func (r *record) live() bool { return r.pos >= 0 }

// counts reports whether r is content: neither a removal nor a clear.
func (r *record) counts() bool { return !r.tomb && r.kind != slotClear }

// shows reports whether r is content that a reader of this version may see.
func (r *record) shows() bool { return r.counts() && !r.gone() && r.kind < firstUnknown }

// gone reports whether r expired and that was reported.
func (r *record) gone() bool { return r.ext != nil && r.ext.gone.Load() }

// at reports whether r is content at nowMillis.
func (r *record) at(nowMillis uint64) bool {
	return r.counts() && (r.expiry() == 0 || r.expiry() > nowMillis && !r.gone())
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
func (r *record) size() int { return len(r.cell.key()) + len(r.val()) + len(r.path()) + 64 }

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

// newRecord allocates a record with a copy of val behind it, in one allocation up to
// 512 bytes: one object for the collector, no pointer to follow, and no more than the
// allocator's size classes lose.
func newRecord(val []byte) *record {
	n := len(val)
	switch {
	case n == 0:
		return &record{pos: dead}
	case n <= 16:
		return inline(new(inlined[[16]byte]), val)
	case n <= 32:
		return inline(new(inlined[[32]byte]), val)
	case n <= 48:
		return inline(new(inlined[[48]byte]), val)
	case n <= 64:
		return inline(new(inlined[[64]byte]), val)
	case n <= 80:
		return inline(new(inlined[[80]byte]), val)
	case n <= 96:
		return inline(new(inlined[[96]byte]), val)
	case n <= 112:
		return inline(new(inlined[[112]byte]), val)
	case n <= 128:
		return inline(new(inlined[[128]byte]), val)
	case n <= 144:
		return inline(new(inlined[[144]byte]), val)
	case n <= 160:
		return inline(new(inlined[[160]byte]), val)
	case n <= 176:
		return inline(new(inlined[[176]byte]), val)
	case n <= 192:
		return inline(new(inlined[[192]byte]), val)
	case n <= 208:
		return inline(new(inlined[[208]byte]), val)
	case n <= 240:
		return inline(new(inlined[[240]byte]), val)
	case n <= 272:
		return inline(new(inlined[[272]byte]), val)
	case n <= 304:
		return inline(new(inlined[[304]byte]), val)
	case n <= 336:
		return inline(new(inlined[[336]byte]), val)
	case n <= 368:
		return inline(new(inlined[[368]byte]), val)
	case n <= 400:
		return inline(new(inlined[[400]byte]), val)
	case n <= 432:
		return inline(new(inlined[[432]byte]), val)
	case n <= maxInline:
		return inline(new(inlined[[maxInline]byte]), val)
	}
	return &record{pos: dead, ext: &ext{value: string(val)}}
}

// maxInline is the longest value that lies behind its record.
const maxInline = 464

type inlined[B any] struct {
	record
	buf B
}

func inline[B any](r *inlined[B], val []byte) *record {
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&r.buf)), unsafe.Sizeof(r.buf))
	copy(buf, val)
	r.len = uint32(len(val))
	r.pos = dead
	return &r.record
}
