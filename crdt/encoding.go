package crdt

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// ActorTable numbers the actors of one frame in the order of their first use, so that the
// frame spells out each actor once. The zero ActorTable is empty.
type ActorTable struct {
	actors []clock.Actor
	number map[clock.Actor]int
}

// Index returns the number of a. It gives a the next number if a has none.
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

// Actors returns the actors by number. The slice belongs to the table.
func (t *ActorTable) Actors() []clock.Actor { return t.actors }

// Reset empties the table for another frame.
func (t *ActorTable) Reset() {
	t.actors = t.actors[:0]
	clear(t.number)
}

// The flags of an encoded record are the lowest four bits of its head, below the slot kind.
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
// An item is a record, or an integer. The integer n > 0 says that the next n dots are
// voids, whose records others of this section superseded. The integer -n says that the
// section leaves the next n dots out. A record is
//
//	[kind<<4 | flags, shared key prefix, key suffix, stamp - base, body,
//	 path?, past [actor number, seq, …]?, expiry?]
//
// and has the optional parts that its flags name. The shared key prefix is the number of
// bytes that the key shares with the key of the record before it in the section. Only the
// body depends on the kind.
//
// A receiver of a void without its successor would count the write as seen and show
// neither the write nor a later one. So a section spells out a record that a record
// outside the section overwrote, and a receiver refuses a section that ends with voids.

// AppendSection appends a section of a's dots from first to last. items are deltas of a
// in that range, ascending. The section leaves out the dots that are not among items.
func (s *Store) AppendSection(dst []byte, t *ActorTable, a clock.Actor, first, last uint64, items []Delta) []byte {
	return s.appendSection(dst, t, a, first, last, items, false)
}

// appendSection appends a section. With whole set it spells out every record, although the
// section carries the one that overwrote it.
func (h *history) appendSection(dst []byte, t *ActorTable, a clock.Actor, first, last uint64, items []Delta, whole bool) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendUint(dst, uint64(t.Index(a)))
	dst = wire.AppendUint(dst, first)
	var base clock.Timestamp
	n := 0
	next, run := first, int64(0) // run: number of dots since the last item, negative if they are left out
	each := func(record func(*record), number func(int64)) {
		next, run = first, 0
		advance := func(to uint64, sign int64) {
			if to > next && run*sign < 0 {
				number(run)
				run = 0
			}
			run += sign * int64(to-next)
			next = to
		}
		for _, d := range items {
			advance(d.seq, -1)
			switch {
			case !whole && d.Void(last):
				advance(d.seq+1, 1)
			case d.r == nil:
				advance(d.seq+1, -1)
			default:
				if run != 0 {
					number(run)
				}
				record(d.r)
				next, run = d.seq+1, 0
			}
		}
		advance(last+1, -1)
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
		dst = h.appendRecord(dst, t, r, base, key)
		key = r.cell.key()
	}, func(n int64) { dst = wire.AppendInt(dst, n) })
	return dst
}

// appendRecord appends r. before is the key of the record before it in the section, ""
// for the first one.
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
	First, Last uint64          // range of the section's dots; Last is First-1 if the section is empty
	Joined      []Delta         // new dots, ascending, with voids and overwritten records; valid until the next Apply or JoinSection
	Duplicates  int             // dots that this replica had seen before
	Quarantined int             // records stamped after the limit, which were set aside
	Decided     int             // dots whose content here lost to the content of the section; see Rival
	MaxStamp    clock.Timestamp // latest stamp of the records that were accepted
}

// JoinSection decodes a section and merges it. actors is the frame's table, by number. A
// dot that this replica has seen costs no allocation.
//
// A record stamped after limit is set aside: it is not merged and its dot does not count
// as seen, so that this replica asks for it again. The voids of such a section do not count
// as seen either, because the record may be their successor. If this replica has a dot with
// another content, one of the two contents stays; see [Rival].
//
// The error is a *wire.Error. After an error the records before the fault are merged, and
// the other dots of the section do not count as seen. The store keeps nothing of r's input.
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
	if n := len(s.voids); n > 0 && (s.voids[n-1].Last == res.Last || (sectionReader{s}).countVoids() > wire.MaxSectionDeltas) {
		r.Fail("void")
	}
	if r.Err() == nil && res.Quarantined == 0 {
		sectionReader{s}.mergeVoids(st, &res)
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

// countVoids returns the number of voids in the section.
func (s sectionReader) countVoids() (n uint64) {
	for _, v := range s.voids {
		n = min(n+v.Last-v.First+1, clock.MaxSeq)
	}
	return n
}

// mergeVoids counts the voids of the section as seen. Each becomes a delta of its own, so
// that this replica passes it on to the peers behind it in a tree.
func (s sectionReader) mergeVoids(st *actorState, res *SectionResult) {
	if len(s.voids) == 0 {
		return
	}
	span := s.spanOf(st)
	s.noteSeen(st)
	passed := false
	for _, v := range s.voids {
		for seq := v.First; seq <= v.Last; seq++ {
			if !span.Add(seq) {
				res.Duplicates++
				continue
			}
			s.deltas = append(s.deltas, Delta{st: st, seq: seq, sectionEnd: res.Last})
			passed = true
		}
	}
	if passed {
		slices.SortFunc(s.deltas, func(a, b Delta) int { return cmp.Compare(a.seq, b.seq) })
	}
}

// joinRecord reads and merges the record of the dot seq. It returns false if r has failed,
// which ends the section.
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
	var cur *record // the live record with this dot, if there is one
	if st.span.Contains(seq) && n >= 5 {
		options := *r
		for range n - 5 {
			r.Skip()
		}
		cur = st.liveRecord(seq)
		dead := cur == nil && !s.restoring // an entry of the journal says later what died
		if dead || stamp > limit || cur != nil && cur.sameContent(head, stamp, s.keyBuf, body, options) {
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
		r.Fail("path limits")
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
			s.index.add(c)
		}
	}
	rec := newRecord(body)
	rec.cell, rec.kind, rec.tomb, rec.stamp, rec.seq, rec.actor = c, kind, head&flagTomb != 0, stamp, seq, st.index
	if e.path != "" || e.past != nil || e.expiry != 0 {
		x := rec.extend()
		x.path, x.past, x.expiry = e.path, e.past, e.expiry
	}
	if cur != nil {
		if (merger(s)).decideRival(cur, rec) {
			res.Decided++
			res.MaxStamp = max(res.MaxStamp, stamp)
		}
		return true
	}
	s.spanOf(st).Add(seq)
	s.merge(rec, false)
	res.MaxStamp = max(res.MaxStamp, stamp)
	s.deltas = append(s.deltas, Delta{r: rec, st: st, seq: seq})
	return true
}

func (s sectionReader) readExt(r *wire.Reader, head uint64, actors []clock.Actor, e *ext) bool {
	if head&flagPath != 0 {
		path := r.Bin()
		if len(path) == 0 || len(path) > wire.MaxPathBytes+5+wire.MaxValueBytes { // 5 bytes are the longest header of an element
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

// accept returns the reason to refuse a record from another replica, nil to accept it. It
// accepts every record of a kind that this version does not know.
func accept(kind slotKind, tomb bool, path string, body []byte) error {
	if kind >= firstUnknown {
		return nil
	}
	if len(body) > 0 && !wire.IsCanonical(body) {
		return errRecord // equal values must be equal bytes
	}
	return admissible(kind, tomb, path, Value{unsafe.String(unsafe.SliceData(body), len(body))})
}

// sectionReader merges the items of a section into a store.
type sectionReader struct{ *Store }
