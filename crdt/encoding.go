package crdt

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// ActorTable numbers the actors of one frame in order of first use, so that each
// is spelled out once.
type ActorTable struct {
	actors []clock.Actor
	number map[clock.Actor]int
}

// Index returns the number of a, given if it has none.
func (t *ActorTable) Index(a clock.Actor) int {
	if n := len(t.actors); n > 0 && t.actors[n-1] == a {
		return n - 1
	}
	i, ok := t.number[a]
	if !ok {
		if t.number == nil {
			t.number = make(map[clock.Actor]int)
		}
		i = len(t.actors)
		t.number[a] = i
		t.actors = append(t.actors, a)
	}
	return i
}

// Actors returns the actors by number. The slice is the table's own.
func (t *ActorTable) Actors() []clock.Actor { return t.actors }

// Reset empties the table for another frame.
func (t *ActorTable) Reset() {
	t.actors = t.actors[:0]
	clear(t.number)
}

// Flags of an encoded delta, below its slot kind.
const (
	flagTomb = 1 << iota
	flagPath
	flagPast
	flagExpiry
	flagBits = 4
)

// A section is a run of consecutive dots of one actor:
//
//	[actor number, first seq, base stamp, [item, …]]
//
// An item is a record, or an integer n: the next n dots are void, their records
// superseded by others of this section; or -n: nothing is said of the next n. A
// record is
//
//	[kind<<4 | flags, shared key prefix, key suffix, stamp - base, body,
//	 path?, past [actor number, seq, …]?, expiry?]
//
// with the optional parts as the flags say. The shared prefix is with the record
// before it in the section. Nothing but the body depends on the kind.
//
// A void without what superseded it would be a hole in what is known: the receiver
// would count the write as seen and show neither it nor a later one. So a record
// that is overwritten from outside its section is sent all the same, and a section
// that ends with voids is refused.

// AppendSection appends a section of a's dots first..last. items are a's deltas
// in that range, ascending; of dots that are not among them nothing is said.
func (s *Store) AppendSection(dst []byte, t *ActorTable, a clock.Actor, first, last uint64, items []Delta) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendUint(dst, uint64(t.Index(a)))
	dst = wire.AppendUint(dst, first)
	var base clock.Timestamp
	n := 0
	next, run := first, int64(0) // run: dots since the last record, negated if nothing is said of them
	each := func(record func(*record), number func(int64)) {
		next, run = first, 0
		note := func(to uint64, sign int64) {
			if to > next && run*sign < 0 {
				number(run)
				run = 0
			}
			run += sign * int64(to-next)
			next = to
		}
		for _, d := range items {
			note(d.seq, -1)
			switch {
			case d.Void(last):
				note(d.seq+1, 1)
			case d.r == nil:
				note(d.seq+1, -1)
			default:
				if run != 0 {
					number(run)
				}
				record(d.r)
				next, run = d.seq+1, 0
			}
		}
		note(last+1, -1)
		if run != 0 {
			number(run)
		}
	}
	each(func(r *record) {
		if base == 0 {
			base = r.stamp
		}
		n++
	}, func(int64) { n++ })
	dst = wire.AppendUint(dst, uint64(base))
	dst = wire.AppendArray(dst, n)
	key := ""
	each(func(r *record) {
		dst = s.appendRecord(dst, t, r, base, key)
		key = r.cell.key()
	}, func(n int64) { dst = wire.AppendInt(dst, n) })
	return dst
}

func (h *history) appendRecord(dst []byte, t *ActorTable, r *record, base clock.Timestamp, before string) []byte {
	head, n := uint64(r.kind)<<flagBits, 5
	if r.tomb {
		head |= flagTomb
	}
	var none ext
	e := &none
	if r.ext != nil {
		e = r.ext
		if e.path != "" {
			head |= flagPath
			n++
		}
		if len(e.past) > 0 {
			head |= flagPast
			n++
		}
		if e.expiry != 0 {
			head |= flagExpiry
			n++
		}
	}
	key, prefix := r.cell.key(), 0
	for prefix < len(key) && prefix < len(before) && key[prefix] == before[prefix] {
		prefix++
	}
	dst = wire.AppendArray(dst, n)
	dst = wire.AppendUint(dst, head)
	dst = wire.AppendUint(dst, uint64(prefix))
	dst = wire.AppendBin(dst, key[prefix:])
	dst = wire.AppendInt(dst, int64(r.stamp-base))
	dst = wire.AppendBin(dst, r.val())
	if e.path != "" {
		dst = wire.AppendBin(dst, e.path)
	}
	if len(e.past) > 0 {
		dst = wire.AppendArray(dst, 2*len(e.past))
		for _, p := range e.past {
			dst = wire.AppendUint(dst, uint64(t.Index(h.actors[p.actor].actor)))
			dst = wire.AppendUint(dst, p.seq)
		}
	}
	if e.expiry != 0 {
		dst = wire.AppendUint(dst, e.expiry)
	}
	return dst
}

// SectionResult says what JoinSection did.
type SectionResult struct {
	Actor       clock.Actor
	First, Last uint64  // the section's range; Last is First-1 if it was empty
	Joined      []Delta // new dots, ascending, voids and overwritten ones among them; valid until the next Apply or JoinSection
	Duplicates  int
	Quarantined int
	Decided     int             // dots that had another content here, which lost
	MaxStamp    clock.Timestamp // of the records accepted
}

// JoinSection decodes a section and merges it. A dot seen before costs no
// allocation. A record stamped after limit is set aside: not merged, and its dot
// not marked as seen, so that it is asked for again; nor are voids beside it, whose
// successor it may be. Of a dot that is here with another content, one stays; see
// [Rival]. An error leaves the records before it merged and the rest
// unseen. Nothing of r's input is kept.
func (s *Store) JoinSection(r *wire.Reader, actors []clock.Actor, limit clock.Timestamp) (SectionResult, error) {
	s.deltas = s.deltas[:0]
	var res SectionResult
	if r.ArrayLen() != 4 {
		r.Fail("section")
		return res, r.Err()
	}
	st := sectionReader{s}.readActor(r, actors)
	first, base := r.Uint(), clock.Timestamp(r.Uint())
	items := r.ArrayLen()
	if first == 0 || first > clock.MaxSeq || items > 2*wire.MaxSectionDeltas+1 {
		r.Fail("section")
	}
	if r.Err() != nil {
		return res, r.Err()
	}
	res.Actor, res.First = st.actor, first
	seq := first
	s.keyBuf = s.keyBuf[:0]
	s.voids = s.voids[:0]
	for range items {
		if seq > clock.MaxSeq {
			r.Fail("section")
			break
		}
		if r.Peek() != wire.TypeArray {
			n := r.Int()
			void := n > 0
			if n < 0 {
				n = -n
			}
			if r.Err() != nil || n <= 0 || uint64(n) > clock.MaxSeq+1-seq {
				r.Fail("void")
				break
			}
			if void {
				s.voids = append(s.voids, clock.Range{First: seq, Last: seq + uint64(n) - 1})
			}
			seq += uint64(n)
			continue
		}
		if !(sectionReader{s}).joinRecord(r, st, seq, base, actors, limit, &res) {
			break
		}
		seq++
	}
	res.Last = seq - 1
	if n := len(s.voids); n > 0 && (s.voids[n-1].Last == res.Last || (sectionReader{s}).voided() > wire.MaxSectionDeltas) {
		r.Fail("void")
	}
	if r.Err() == nil && res.Quarantined == 0 {
		sectionReader{s}.void(st, &res)
	}
	s.truncate()
	res.Joined = s.deltas
	s.stats.Merged += uint64(len(s.deltas))
	s.stats.Duplicates += uint64(res.Duplicates)
	s.stats.Quarantined += uint64(res.Quarantined)
	return res, r.Err()
}

func (s sectionReader) readActor(r *wire.Reader, actors []clock.Actor) *actorState {
	i := r.Uint()
	if i >= uint64(len(actors)) {
		r.Fail("actor number")
	}
	if r.Err() != nil {
		return nil
	}
	return s.intern(actors[i])
}

// voided counts the voids of a section.
func (s sectionReader) voided() (n uint64) {
	for _, v := range s.voids {
		n = min(n+v.Last-v.First+1, clock.MaxSeq)
	}
	return n
}

// void marks the voids of a section as seen. They are passed on one by one, so that
// the peers behind this one do not find holes.
func (s sectionReader) void(st *actorState, res *SectionResult) {
	if len(s.voids) == 0 {
		return
	}
	span := s.seenBy(st)
	passed := false
	for _, v := range s.voids {
		for seq := v.First; seq <= v.Last; seq++ {
			if !span.Add(seq) {
				res.Duplicates++
				continue
			}
			s.deltas = append(s.deltas, Delta{st: st, seq: seq, with: res.Last})
			passed = true
		}
	}
	if passed {
		slices.SortFunc(s.deltas, func(a, b Delta) int { return cmp.Compare(a.seq, b.seq) })
	}
}

func (s sectionReader) joinRecord(r *wire.Reader, st *actorState, seq uint64, base clock.Timestamp, actors []clock.Actor, limit clock.Timestamp, res *SectionResult) bool {
	n := r.ArrayLen()
	head, prefix, suffix := r.Uint(), r.Uint(), r.Bin()
	stamp := base + clock.Timestamp(r.Int())
	body := r.Bin()
	if r.Err() != nil || n < 5 || n > 8 || prefix > uint64(len(s.keyBuf)) || prefix+uint64(len(suffix)) > wire.MaxKeyBytes || len(body) > wire.MaxValueBytes {
		r.Fail("record")
		return false
	}
	s.keyBuf = append(s.keyBuf[:prefix], suffix...)
	var e ext
	var cur *record // that has this dot
	if st.span.Contains(seq) && n >= 5 {
		options := *r
		for range n - 5 {
			r.Skip()
		}
		if cur = st.at(seq); cur == nil || stamp > limit || cur.says(head, stamp, s.keyBuf, body, options) {
			res.Duplicates++
			return r.Err() == nil
		}
		*r = options
	}
	if head&(1<<flagBits-1)&^flagTomb != 0 {
		if !s.readExt(r, head, actors, &e) {
			return false
		}
	}
	if want := 5 + int(head>>1&1+head>>2&1+head>>3&1); n != want {
		r.Fail("record")
		return false
	}
	if stamp > limit {
		res.Quarantined++
		return true
	}
	kind := slotKind(head >> flagBits)
	switch err := accept(kind, head&flagTomb != 0, e.path, body); {
	case err == errDeep || err == errLong:
		r.Fail(pathLimits)
		return false
	case err != nil || head>>flagBits > 0xffff || stamp == 0:
		r.Fail("record body")
		return false
	}
	c, ok := s.index.Load(unsafe.String(unsafe.SliceData(s.keyBuf), len(s.keyBuf)))
	if !ok {
		key := unsafe.String(unsafe.SliceData(s.keyBuf), len(s.keyBuf))
		if ValidateKey(key) != nil {
			r.Fail("key")
			return false
		}
		if c = newCell(key); cur == nil {
			s.index.Store(c.key(), c)
		}
	}
	rec := newRecord(body)
	rec.cell, rec.kind, rec.tomb, rec.stamp, rec.seq, rec.actor = c, kind, head&flagTomb != 0, stamp, seq, st.index
	if e.path != "" || e.past != nil || e.expiry != 0 {
		x := rec.extend()
		x.path, x.past, x.expiry = e.path, e.past, e.expiry
	}
	if cur != nil {
		if (merger(s)).decide(cur, rec) {
			res.Decided++
			res.MaxStamp = max(res.MaxStamp, stamp)
		}
		return true
	}
	s.seenBy(st).Add(seq)
	s.merge(rec, false)
	res.MaxStamp = max(res.MaxStamp, stamp)
	s.deltas = append(s.deltas, Delta{r: rec, st: st, seq: seq})
	return true
}

func (s sectionReader) readExt(r *wire.Reader, head uint64, actors []clock.Actor, e *ext) bool {
	if head&flagPath != 0 {
		path := r.Bin()
		if len(path) == 0 || len(path) > wire.MaxPathBytes+5+wire.MaxValueBytes { // 5: an element's header
			r.Fail("path")
		}
		e.path = string(path)
	}
	if head&flagPast != 0 {
		n := r.ArrayLen()
		if n == 0 || n%2 != 0 || n/2 > len(actors) {
			r.Fail("past")
		}
		for i := 0; i < n/2 && r.Err() == nil; i++ {
			st, seq := s.readActor(r, actors), r.Uint()
			if r.Err() == nil {
				e.past = mergePast(e.past, st.index, seq)
			}
		}
	}
	if head&flagExpiry != 0 {
		e.expiry = r.Uint()
	}
	return r.Err() == nil
}

// accept returns why what another replica sent is no record, nil if it is one, or of a
// kind this version does not know.
func accept(kind slotKind, tomb bool, path string, body []byte) error {
	if kind >= firstUnknown {
		return nil
	}
	if len(body) > 0 && !wire.IsCanonical(body) {
		return errRecord // values of other forms would not compare
	}
	return admissible(kind, tomb, path, Value{unsafe.String(unsafe.SliceData(body), len(body))})
}

// pathLimits is why a record is refused whose path no Op can have.
const pathLimits = "path limits"

// sectionReader joins what a section of a frame has.
type sectionReader struct{ *Store }
