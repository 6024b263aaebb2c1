package gossip

import (
	"encoding/binary"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Tier 2: the contexts are equal and the sums are not, so one side has dropped, or
// kept, what the other has not. The shards that differ are narrowed to ranges in
// dot order (range-based set reconciliation, Meyer 2022) and those to lists. A
// record that one side lists and the other, having seen its dot, does not, is
// superseded and dropped, see absence.go. Of a dot that both hold with different contents,
// the side whose content stays sends it (crdt.Rival). All of it is void if a context moved
// meanwhile.

const (
	splitInto = 16 // ranges
	listUpTo  = 64 // dots of both sides together

	// What a frame says at most. Ranges beyond it are left for the next time that sums
	// differ: each time, what was listed is out of the way.
	maxRanges     = 4096
	maxListedDots = 16_384
)

// reconciling narrows down what two peers with equal contexts hold differently.
type reconciling struct {
	*shared
	*digests
}

type shardMask [4]uint64

var allDots = [2]clock.Dot{{Actor: clock.Actor{Rand: 1}}, {Actor: clock.Actor{Birth: 1<<48 - 1, Rand: 1<<64 - 1}, Seq: 1 << 63}}

func (s *reconciling) sendSums(now time.Time, p *peer) {
	s.stats.Reconciliations++
	s.store.Resum()
	w := s.begin()
	w.section(secSums, 2)
	w.uint(s.contextHash())
	sums := make([]byte, 0, 8*256)
	for _, sum := range s.store.Sums() {
		sums = binary.BigEndian.AppendUint64(sums, sum)
	}
	w.bin(sums)
	s.send(now, p, Bulk, s.finish(w, 0, false))
}

func (in *incoming) sums(r *wire.Reader) {
	e := in.e
	hash, sums := r.Uint(), r.Bin()
	if r.Err() != nil || len(sums) != 8*256 {
		r.Fail("sums")
		return
	}
	if in.from == nil || hash != e.contextHash() {
		return
	}
	var mask shardMask
	for i, s := range e.store.Sums() {
		if binary.BigEndian.Uint64(sums[8*i:]) != s {
			mask[i/64] |= 1 << (i % 64)
		}
	}
	if mask == (shardMask{}) {
		return
	}
	w := e.begin()
	e.writeRanges(w, mask, e.split(allDots[0], allDots[1], mask))
	e.send(in.now, in.from, Bulk, e.finish(w, 0, false))
}

// dotRange is a range in dot order and what this peer has in it.
type dotRange struct {
	from, to clock.Dot
	count    int
	sum      uint64
}

func (s *reconciling) measure(from, to clock.Dot, mask shardMask) dotRange {
	d := dotRange{from: from, to: to}
	s.store.EachLive(from, to, (*[4]uint64)(&mask), func(x crdt.Delta) bool {
		d.count++
		d.sum += s.store.Hash(x)
		return true
	})
	return d
}

// split cuts a range into parts of about equal count that cover all of it.
func (s *reconciling) split(from, to clock.Dot, mask shardMask) []dotRange {
	var dots []clock.Dot
	s.store.EachLive(from, to, (*[4]uint64)(&mask), func(x crdt.Delta) bool {
		dots = append(dots, x.Dot())
		return true
	})
	step := max(len(dots)/splitInto, 1)
	var parts []dotRange
	start := from
	for i := step; i < len(dots); i += step {
		end := dots[i]
		end.Seq-- // the part ends before the next one's first dot
		parts = append(parts, s.measure(start, end, mask))
		start = dots[i]
	}
	return append(parts, s.measure(start, to, mask))
}

func (w *frameWriter) bin(b []byte) { w.body = wire.AppendBin(w.body, b) }

func (w *frameWriter) array(n int) { w.body = wire.AppendArray(w.body, n) }

func (w *frameWriter) dot(d clock.Dot) {
	w.actor(d.Actor)
	w.uint(d.Seq)
}

func (in *incoming) dot(r *wire.Reader) clock.Dot {
	return clock.Dot{Actor: in.actor(r), Seq: r.Uint()}
}

func (w *frameWriter) mask(m shardMask) {
	var b [32]byte
	for i, x := range m {
		binary.BigEndian.PutUint64(b[8*i:], x)
	}
	w.bin(b[:])
}

func (in *incoming) mask(r *wire.Reader) (m shardMask) {
	b := r.Bin()
	if len(b) != 32 {
		r.Fail("shards")
		return m
	}
	for i := range m {
		m[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return m
}

func (s *reconciling) writeRanges(w *frameWriter, mask shardMask, parts []dotRange) {
	w.section(secRanges, 2+6*len(parts))
	w.uint(s.contextHash())
	w.mask(mask)
	for _, d := range parts {
		w.dot(d.from)
		w.dot(d.to)
		w.uint(uint64(d.count))
		w.uint(d.sum)
	}
}

func (in *incoming) ranges(r *wire.Reader, n int) {
	e := in.e
	hash, mask := r.Uint(), in.mask(r)
	if n < 2 || (n-2)%6 != 0 {
		r.Fail("ranges")
	}
	if r.Err() != nil || in.from == nil || hash != e.contextHash() {
		return
	}
	var parts []dotRange
	var lists []dotList
	listed := 0
	for range (n - 2) / 6 {
		theirs := dotRange{from: in.dot(r), to: in.dot(r), count: int(r.Uint() & (1<<40 - 1)), sum: r.Uint()}
		if r.Err() != nil {
			return
		}
		mine := e.measure(theirs.from, theirs.to, mask)
		switch {
		case mine.count == theirs.count && mine.sum == theirs.sum:
		case mine.count+theirs.count <= listUpTo || mine.count == 0:
			if listed += mine.count; listed <= maxListedDots && len(lists) < maxRanges {
				lists = append(lists, e.list(theirs.from, theirs.to, mask))
			}
		case len(parts) < maxRanges:
			parts = append(parts, e.split(theirs.from, theirs.to, mask)...)
		}
	}
	w := e.begin()
	if len(parts) > 0 {
		e.writeRanges(w, mask, parts)
	}
	if len(lists) > 0 {
		e.writeLists(w, mask, lists, true)
	}
	if w.sections > 0 {
		e.send(in.now, in.from, Bulk, e.finish(w, 0, false))
	}
}

// dotList is what this peer holds of a range.
type dotList struct {
	from, to clock.Dot
	held     []crdt.Delta
}

func (s *reconciling) list(from, to clock.Dot, mask shardMask) dotList {
	l := dotList{from: from, to: to}
	s.store.EachLive(from, to, (*[4]uint64)(&mask), func(x crdt.Delta) bool {
		l.held = append(l.held, x)
		return true
	})
	return l
}

func (s *reconciling) writeLists(w *frameWriter, mask shardMask, lists []dotList, wantAnswer bool) {
	w.section(secLists, 3+5*len(lists))
	w.uint(s.contextHash())
	w.mask(mask)
	w.bool(wantAnswer)
	for _, l := range lists {
		w.dot(l.from)
		w.dot(l.to)
		w.array(3 * len(l.held))
		for _, d := range l.held {
			w.dot(d.Dot())
			w.uint(s.store.Hash(d))
		}
	}
}

func (in *incoming) lists(r *wire.Reader, n int) {
	e := in.e
	hash, mask, wantAnswer := r.Uint(), in.mask(r), r.Bool()
	if n < 3 || (n-3)%5 != 0 {
		r.Fail("lists")
	}
	if r.Err() != nil || in.from == nil || hash != e.contextHash() {
		return
	}
	var answers []dotList
	var superseded []clock.Dot
	w := e.begin()
	listed, records := 0, 0
	for range (n - 3) / 5 {
		from, to := in.dot(r), in.dot(r)
		theirs := make(map[clock.Dot]uint64) // shares
		for range r.ArrayLen() / 3 {
			dot := in.dot(r)
			theirs[dot] = r.Uint()
		}
		if r.Err() != nil {
			return
		}
		answer, wanted := dotList{from: from, to: to}, false
		e.store.EachLive(from, to, (*[4]uint64)(&mask), func(x crdt.Delta) bool {
			share, both := theirs[x.Dot()]
			if both {
				delete(in.from.absent, x.Dot())
			}
			switch {
			case !both:
				superseded = append(superseded, x.Dot())
				return true
			case share == e.store.Hash(x):
			case !e.store.Contest(x, share):
				wanted = true
			case len(w.body) < syncBytes:
				w.deltas(e.store, secState, x.Actor(), x.Seq(), x.Seq(), []crdt.Delta{x})
				records++
			}
			answer.held = append(answer.held, x)
			return true
		})
		wanted = wanted || len(answer.held) < len(theirs) // what is superseded goes
		if wanted && listed+len(answer.held) <= maxListedDots {
			listed += len(answer.held)
			answers = append(answers, answer)
		}
	}
	if wantAnswer && len(answers) > 0 {
		e.writeLists(w, mask, answers, false)
	}
	if w.sections > 0 {
		e.send(in.now, in.from, Bulk, e.finish(w, records, true))
	}
	e.dropAbsent(in.now, in.from, superseded)
}
