package gossip

import (
	"encoding/binary"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// If two contexts are equal and the checksums of the records are not, one peer holds a record that the
// other has dropped, or both hold different contents for one dot. A reconciliation narrows the
// shards whose checksums differ to ranges in the order of dots, and the ranges to lists (range-based
// set reconciliation, Meyer 2022). If a list lacks a record, its sender has seen the dot and
// dropped the record, so the receiver drops it too (absence.go). If a dot has two contents, the
// peer with the content that stays sends it (crdt.Rival). Each message carries the hash of
// the sender's context, and is ignored once the receiver's context differs.

const (
	splitInto = 16 // ranges that take the place of one that differs
	listUpTo  = 64 // greatest number of records, of both sides together, in a range that is listed and not split

	// Bounds of one frame. What is beyond them is left for the next reconciliation, which
	// finds the first differences gone.
	maxRanges     = 4096   // ranges
	maxListedDots = 16_384 // records in lists
)

// reconciling finds the records in which two peers with equal contexts differ.
type reconciling struct {
	*shared
	*digests
}

// shardMask is a set of shards: bit i % 64 of element i / 64 stands for shard i of 256.
type shardMask [4]uint64

// allDots are the first and the last dot that there can be.
var allDots = [2]clock.Dot{{Actor: clock.Actor{Rand: 1}}, {Actor: clock.Actor{Birth: 1<<48 - 1, Rand: 1<<64 - 1}, Seq: 1 << 63}}

// sendSums begins a reconciliation: it sends p the 256 checksums of this peer's shards, computed anew,
// so that a value that broke in memory is found.
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

// sums receives checksums, and answers with the ranges of the shards that differ.
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

// dotRange is a range in the order of dots, both ends included, with the number of one peer's live
// records in it and their checksum.
type dotRange struct {
	from, to clock.Dot
	count    int
	sum      uint64
}

// measure counts and sums this peer's live records from one dot to another, in the shards of mask.
func (s *reconciling) measure(from, to clock.Dot, mask shardMask) dotRange {
	d := dotRange{from: from, to: to}
	s.store.EachLive(from, to, (*[4]uint64)(&mask), func(x crdt.Delta) bool {
		d.count++
		d.sum += s.store.Hash(x)
		return true
	})
	return d
}

// split divides a range into about splitInto adjoining ranges with about equal numbers of records.
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
		end.Seq-- // the range ends before the first dot of the next one
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

// ranges receives ranges, and answers those that differ: with smaller ranges, or with lists where few
// records are left.
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

// dotList is a range and all of this peer's live records in it.
type dotList struct {
	from, to clock.Dot
	held     []crdt.Delta
}

// list returns this peer's live records from one dot to another, in the shards of mask.
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

// lists receives lists. It sends the records whose content the other peer is to take over, and its own
// lists where the other asks for them, and drops the records that the lists lack.
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
	var absent []clock.Dot
	w := e.begin()
	listed, records := 0, 0
	for range (n - 3) / 5 {
		from, to := in.dot(r), in.dot(r)
		theirs := make(map[clock.Dot]uint64) // the hashes of the records that the list names
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
				absent = append(absent, x.Dot())
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
		wanted = wanted || len(answer.held) < len(theirs) // the other has records that this peer lacks, which its list will show
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
	e.dropAbsent(in.now, in.from, absent)
}
