package crdt

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// slotKind is the kind of a slot, and a part of the slot's identity. Its numbers are part
// of the wire format. A number from firstUnknown on comes from a later version; the store
// keeps and relays such a record without reading its value.
type slotKind uint16

const (
	slotRegister slotKind = iota + 1 // one leaf, last write wins
	slotElement                      // one element of a set
	slotMax
	slotCounter
	slotSibling
	slotMarker            // says that an object exists, with fields or without
	slotClear             // a clear, which removes everything at and below its path
	slotDeadline          // when the content of the key ends, which its expiry says
	firstUnknown slotKind = 64
)

// lww reports whether the slot is last-write-wins, so that it keeps one record. A slot of
// another kind keeps every record that no other covers.
func (k slotKind) lww() bool { return k == slotRegister || k == slotMarker }

// A record is one mutation. The fields that readers use never change once the record is a
// cell's view, except ext.expiryReported, which is atomic. Only the store's owner uses pos
// and ext.past.
type record struct {
	cell  *cell
	stamp clock.Timestamp
	seq   uint64
	ext   *ext // nil for most plain registers
	actor uint32
	len   uint32 // length in bytes of the value behind the record; see val
	pos   int32  // index in the actor's live list; if negative, see dead
	kind  slotKind
	tomb  bool // whether the record is a removal
	shard uint8
}

// val returns the canonical value. The record of a set element has no value, because its
// path contains the element. A value of up to maxInline bytes lies right behind its record
// in the same allocation, and a longer one in ext.
func (r *record) val() string {
	if r.len == 0 {
		if r.ext == nil {
			return ""
		}
		return r.ext.value
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(r), unsafe.Sizeof(*r))), r.len)
}

// dead is the pos of a record that is not live. If a later record of its own actor
// overwrote the record, pos is instead the negated distance between their numbers.
const dead = math.MinInt32

// overwrittenBy notes in r.pos that o overwrote r, which was just removed from the live
// list. Delta.Void needs the distance, and it needs it only for records of one actor.
func (r *record) overwrittenBy(o *record) {
	if o.actor == r.actor && o.seq > r.seq && o.seq-r.seq < -(dead+1) {
		r.pos = -int32(o.seq - r.seq)
	}
}

// ext holds the parts of a record that plain registers rarely need.
type ext struct {
	path           string      // path of the slot inside the key
	past           []pastEntry // dots that the writer had seen at the slot
	expiry         uint64      // Unix milliseconds, 0 for never
	expiryReported atomic.Bool // the record stays expired once Expire has reported it, even if the clock goes back
	value          string      // a value longer than maxInline

	// Only the view of a key with slots uses the fields below.
	many         *many
	renderedKind Kind // 0 while nothing is rendered
	version      Version
	siblings     []Sibling
}

// pastEntry is one entry of a record's past. It says that the record's writer had seen every
// dot of the actor up to seq at the record's slot, and that the record covers them. The
// entry of a clear is about all slots at and below the clear's path.
type pastEntry struct {
	actor uint32
	seq   uint64
}

// stale reports whether r is a many.staleView, so that the key must be rendered.
func (r *record) stale() bool {
	return r.kind == 0 && !r.tomb && r.ext.renderedKind == 0
}

// extend returns r.ext. It creates the ext if there is none.
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

func (r *record) past() []pastEntry {
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

// live reports whether r is in the live list of its actor.
func (r *record) live() bool { return r.pos >= 0 }

// isRemoval reports whether r is a removal or a clear.
func (r *record) isRemoval() bool { return r.tomb || r.kind == slotClear }

// isContent reports whether r is content, which is neither a removal nor a deadline.
func (r *record) isContent() bool { return !r.isRemoval() && r.kind != slotDeadline }

// expiryReported reports whether r has reached its own expiry and Expire has reported it.
func (r *record) expiryReported() bool { return r.ext != nil && r.ext.expiryReported.Load() }

// covers reports whether r covers the dot, which must be at r's slot. A record covers the
// earlier dots of its own actor although its past does not contain them.
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

// size returns about how many bytes r takes in a frame or in a queue.
func (r *record) size() int { return len(r.cell.key()) + len(r.val()) + len(r.path()) + 64 }

// mergePast returns list with the entry (actor, seq) merged into it.
func mergePast(list []pastEntry, actor uint32, seq uint64) []pastEntry {
	for i := range list {
		if list[i].actor == actor {
			list[i].seq = max(list[i].seq, seq)
			return list
		}
	}
	return append(list, pastEntry{actor, seq})
}

// order returns the causal order of a relative to b, both at one slot, from their pasts.
func order(a, b *record) clock.Order {
	switch {
	case a.covers(b.actor, b.seq):
		return clock.After
	case b.covers(a.actor, a.seq):
		return clock.Before
	}
	return clock.Concurrent
}

// newRecord allocates a dead record with a copy of val. A val of up to maxInline bytes lies
// behind the record in the same allocation, so that the garbage collector has one object
// and a reader no pointer to follow. The lengths follow the allocator's size classes up to
// 512 bytes.
func newRecord(val []byte) *record {
	n := len(val)
	switch {
	case n == 0:
		return &record{pos: dead}
	case n <= 16:
		return withValue(new(recordWithValue[[16]byte]), val)
	case n <= 32:
		return withValue(new(recordWithValue[[32]byte]), val)
	case n <= 48:
		return withValue(new(recordWithValue[[48]byte]), val)
	case n <= 64:
		return withValue(new(recordWithValue[[64]byte]), val)
	case n <= 80:
		return withValue(new(recordWithValue[[80]byte]), val)
	case n <= 96:
		return withValue(new(recordWithValue[[96]byte]), val)
	case n <= 112:
		return withValue(new(recordWithValue[[112]byte]), val)
	case n <= 128:
		return withValue(new(recordWithValue[[128]byte]), val)
	case n <= 144:
		return withValue(new(recordWithValue[[144]byte]), val)
	case n <= 160:
		return withValue(new(recordWithValue[[160]byte]), val)
	case n <= 176:
		return withValue(new(recordWithValue[[176]byte]), val)
	case n <= 192:
		return withValue(new(recordWithValue[[192]byte]), val)
	case n <= 208:
		return withValue(new(recordWithValue[[208]byte]), val)
	case n <= 240:
		return withValue(new(recordWithValue[[240]byte]), val)
	case n <= 272:
		return withValue(new(recordWithValue[[272]byte]), val)
	case n <= 304:
		return withValue(new(recordWithValue[[304]byte]), val)
	case n <= 336:
		return withValue(new(recordWithValue[[336]byte]), val)
	case n <= 368:
		return withValue(new(recordWithValue[[368]byte]), val)
	case n <= 400:
		return withValue(new(recordWithValue[[400]byte]), val)
	case n <= 432:
		return withValue(new(recordWithValue[[432]byte]), val)
	case n <= maxInline:
		return withValue(new(recordWithValue[[maxInline]byte]), val)
	}
	return &record{pos: dead, ext: &ext{value: string(val)}}
}

// maxInline is the length in bytes of the longest value that lies behind its record.
const maxInline = 464

// recordWithValue is a record with B, a byte array, for its value.
type recordWithValue[B any] struct {
	record
	buf B
}

// withValue copies val behind the record.
func withValue[B any](r *recordWithValue[B], val []byte) *record {
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&r.buf)), unsafe.Sizeof(r.buf))
	copy(buf, val)
	r.len = uint32(len(val))
	r.pos = dead
	return &r.record
}
