package crdt

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// An entry of the journal says what changed in a store, in the order in which it happened. An
// image is a list of entries with all that a store holds. Both have one form:
//
//	[[actor, …], [item, …], [context, …], expired through]
//
// An item is a section with records that were merged, those that lost to another one included; or
// it is the dot of a record that is live no more, as two numbers: that of its actor in the table,
// and its own. The contexts, of one actor each, have the dots that the store has seen without
// their records. Expired through is the latest expiry that was reported, in Unix milliseconds.
//
// The parts of an image may be newer than the entries that come after it, and its records may
// have lost the pasts by which they covered others. So an entry names each record that was
// forgotten, that lost when it was merged, or that a past covered, and Restore merges a record
// again that is not live. It need not name what a later write of the same actor overwrote, nor
// what lost at a last-write-wins slot to a record that was merged after it: no past decides that.

// AppendJournal appends an entry with all that changed since its last call, for a store with
// Config.Journal. It appends nothing if nothing changed.
//
// The entries of a journal, or an image and the entries since the image began, rebuild the
// store. An entry that is lost takes with it what only it had: a restored store has seen no dot
// whose record it could not read.
func (s *Store) AppendJournal(dst []byte) []byte {
	if !s.journals || len(s.journal) == 0 && len(s.seenDots) == 0 && s.through == s.throughSaved {
		return dst
	}
	var t ActorTable
	body, items := s.appendItems(nil, &t)
	dst = appendEntry(dst, &t, items, body)
	dst = wire.AppendArray(dst, len(s.seenDots))
	for _, a := range s.seenDots {
		dst = appendSpan(dst, a, s.context.Span(a))
		if i, ok := s.number[a]; ok {
			s.actors[i].contextDirty = false
		}
	}
	clear(s.journal)
	s.journal, s.seenDots, s.throughSaved = s.journal[:0], s.seenDots[:0], s.through
	return wire.AppendUint(dst, s.through)
}

// appendEntry appends the beginning of an entry: the table of actors, and the items.
func appendEntry(dst []byte, t *ActorTable, items int, body []byte) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendArray(dst, len(t.Actors()))
	for _, a := range t.Actors() {
		dst = clock.AppendActor(dst, a)
	}
	return append(wire.AppendArray(dst, items), body...)
}

// appendItems appends what happened to records since the last entry. Records of one actor that
// were merged one after the other, with ascending numbers, make a section.
func (s *Store) appendItems(dst []byte, t *ActorTable) (_ []byte, items int) {
	var run []Delta
	end := func() {
		if len(run) > 0 {
			first, last := run[0], run[len(run)-1]
			dst = s.appendSection(dst, t, first.st.actor, first.seq, last.seq, run, true)
			run, items = run[:0], items+1
		}
	}
	for _, e := range s.journal {
		d := s.delta(e.record)
		if n := len(run); n == wire.MaxSectionDeltas || n > 0 && (e.gone || run[n-1].st != d.st || run[n-1].seq >= d.seq) {
			end()
		}
		if !e.gone {
			run = append(run, d)
			continue
		}
		dst = wire.AppendUint(dst, uint64(t.Index(d.st.actor)))
		dst = wire.AppendUint(dst, d.seq)
		items += 2
	}
	end()
	return dst, items
}

// appendSpan appends a context with the dots of one actor. It leaves out dots beyond the limit
// of a context, which a restored store has not seen, so that other peers send them again.
func appendSpan(dst []byte, a clock.Actor, span *clock.Span) []byte {
	one := clock.NewContext()
	span = span.Clone()
	span.Ranges = span.Ranges[:min(len(span.Ranges), wire.MaxGapRanges)]
	one.Ensure(a).Join(span)
	return one.AppendTo(dst)
}

// Image reads a store in parts, between which the store may change. The parts, and the
// journal's entries since NewImage, rebuild the store.
type Image struct {
	s     *Store
	first []byte    // the entry with the contexts, nil once it was taken
	next  clock.Dot // no dot before it is left
}

// NewImage begins an image of s. It copies the contexts, which take 18 bytes an actor.
func NewImage(s *Store) *Image {
	var t ActorTable
	contexts, n := []byte(nil), 0
	for a, span := range s.context.All() {
		contexts = appendSpan(contexts, a, span)
		n++
	}
	first := appendEntry(nil, &t, 0, nil)
	first = append(wire.AppendArray(first, n), contexts...)
	return &Image{s: s, first: wire.AppendUint(first, s.through)}
}

// Next appends the next entry of the image, with up to n records and at most 4,096. It reports
// whether there was one.
func (m *Image) Next(dst []byte, n int) ([]byte, bool) {
	if m.first != nil {
		dst, m.first = append(dst, m.first...), nil
		return dst, true
	}
	var t ActorTable
	var body []byte
	items := 0
	n = min(n, wire.MaxSectionDeltas)
	i, _ := slices.BinarySearchFunc(m.s.active, m.next.Actor, func(st *actorState, a clock.Actor) int { return st.actor.Compare(a) })
	for ; i < len(m.s.active) && n > 0; i++ {
		st := m.s.active[i]
		if st.actor != m.next.Actor {
			m.next = clock.Dot{Actor: st.actor}
		}
		var run []Delta
		m.s.Live(st.actor, m.next.Seq, clock.MaxSeq, func(d Delta) bool {
			run = append(run, d)
			return len(run) < n
		})
		if len(run) == 0 {
			continue
		}
		last := run[len(run)-1].seq
		body = m.s.appendSection(body, &t, st.actor, run[0].seq, last, run, true)
		items, n, m.next.Seq = items+1, n-len(run), last+1
	}
	if items == 0 {
		return dst, false
	}
	dst = appendEntry(dst, &t, items, body)
	return wire.AppendUint(wire.AppendArray(dst, 0), 0), true
}

// Restore rebuilds a store that no goroutine uses yet from the entries of an image and of a
// journal, in the order in which they were made. The bool beside an entry says that an entry
// before it is missing. From then on no context is believed: it may have a dot whose record was
// in the missing entry, and other peers would never send that record again.
//
// The error says which entry is malformed, counted from 0; the entries before it are restored.
// Restored records are no changes, and AppendJournal does not return them. Parts that had
// expired stay away even if the clock was set back.
func (s *Store) Restore(entries iter.Seq2[[]byte, bool]) (err error) {
	journals := s.journals
	s.journals, s.restoring = false, true
	n, gap := 0, false
	for entry, missing := range entries {
		gap = gap || missing
		if err = s.restore(entry, gap); err != nil {
			err = fmt.Errorf("entry %d of the journal: %w", n, err)
			break
		}
		n++
	}
	s.Expire(s.through)
	s.Changes()
	s.journals, s.restoring, s.throughSaved = journals, false, s.through
	return err
}

// restore merges one entry. It leaves out the contexts if an earlier entry is missing.
func (s *Store) restore(entry []byte, gap bool) error {
	if _, err := wire.Check(entry, wire.Limits{Bytes: len(entry), Depth: 8}); err != nil {
		return err
	}
	r := wire.NewReader(entry)
	if r.ArrayLen() != 4 {
		r.Fail("entry")
	}
	var actors []clock.Actor
	for range r.ArrayLen() {
		actors = append(actors, clock.ReadActor(&r))
	}
	for n := r.ArrayLen(); n > 0 && r.Err() == nil; n-- {
		if r.Peek() == wire.TypeArray {
			if _, err := s.JoinSection(&r, actors, math.MaxUint64); err != nil {
				return err
			}
			continue
		}
		a, seq := r.Uint(), r.Uint()
		n--
		if a >= uint64(len(actors)) {
			r.Fail("actor number")
			break
		}
		if i, ok := s.number[actors[a]]; ok {
			if rec := s.actors[i].liveRecord(seq); rec != nil {
				merger{s}.detach(rec)
			}
		}
	}
	for range r.ArrayLen() {
		c, err := clock.ReadContext(&r)
		if err != nil {
			return err
		}
		if !gap {
			s.Adopt(c)
		}
	}
	s.through = max(s.through, r.Uint())
	return r.Err()
}

// saving holds what the next call of AppendJournal appends.
type saving struct {
	journals     bool // Config.Journal
	restoring    bool // Restore merges entries
	journal      []journalled
	seenDots     []clock.Actor // actors with dots that were seen without their records
	through      uint64        // latest expiry that was reported, in Unix milliseconds
	throughSaved uint64        // through in the entry before
}

// journalled is a record that was merged, or that is live no more.
type journalled struct {
	*record
	gone bool
}

// noteMerged notes that r was merged, whether or not it became live.
func (v *saving) noteMerged(r *record) {
	if v.journals {
		v.journal = append(v.journal, journalled{r, false})
	}
}

// noteSeen notes that dots of st are seen without their records.
func (v *saving) noteSeen(st *actorState) {
	if v.journals && !st.contextDirty {
		st.contextDirty = true
		v.seenDots = append(v.seenDots, st.actor)
	}
}

// noteCovered notes that r overwrote other, if its past decided that.
func (v *saving) noteCovered(r, other *record) {
	if other.actor != r.actor && !other.kind.lww() {
		v.noteGone(other)
	}
}

// noteGone notes that r is live no more.
func (v *saving) noteGone(r *record) {
	if v.journals {
		v.journal = append(v.journal, journalled{r, true})
	}
}
