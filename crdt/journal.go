package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Saved is one entry of a store's image on disk, which is a sorted map from bytes to bytes.
// A nil Value deletes the entry.
type Saved struct{ Key, Value []byte }

// The image has an entry for each live record, and for each actor one with the dots that
// this replica has seen of it. Numbers in keys are big-endian:
//
//	'r' actor(14) seq(8)   [[actor, …], section]   a section of one record
//	's' actor(14)          context of that actor
const (
	entryRecord = 'r'
	entrySeen   = 's'
)

// Journal returns the entries that changed since its last call, for a store with
// Config.Journal. Applied in order, they bring the image up to date. The caller must write
// all of them in one transaction: if a context were on disk without its records, the store
// would not ask for these again after a restart.
func (s *Store) Journal() []Saved {
	if len(s.dirtyRecords) == 0 && len(s.dirtyContexts) == 0 {
		return nil
	}
	list := make([]Saved, 0, len(s.dirtyRecords)+len(s.dirtyContexts))
	for _, r := range s.dirtyRecords {
		actor := s.actors[r.actor].actor
		e := Saved{Key: binary.BigEndian.AppendUint64(actorKey(entryRecord, actor), r.seq)}
		if r.live() {
			e.Value = s.appendSaved(nil, r)
		}
		list = append(list, e)
	}
	for _, a := range s.dirtyContexts {
		one := clock.NewContext()
		span := s.context.Span(a).Clone()
		// The image leaves out dots beyond the limit of a context. After a restart the store
		// has not seen them, and other peers send them again.
		span.Ranges = span.Ranges[:min(len(span.Ranges), wire.MaxGapRanges)]
		one.Ensure(a).Join(span)
		list = append(list, Saved{actorKey(entrySeen, a), one.AppendTo(nil)})
		if i, ok := s.number[a]; ok {
			s.actors[i].contextDirty = false
		}
	}
	clear(s.dirtyRecords)
	s.dirtyRecords, s.dirtyContexts = s.dirtyRecords[:0], s.dirtyContexts[:0]
	return list
}

// actorKey returns the key of the actor's entry: kind, 6 bytes of birth, 8 random bytes.
func actorKey(kind byte, a clock.Actor) []byte {
	key := binary.BigEndian.AppendUint64([]byte{kind}, a.Birth<<16)[:7]
	return binary.BigEndian.AppendUint64(key, a.Rand)
}

func (s *Store) appendSaved(dst []byte, r *record) []byte {
	var t ActorTable
	section := s.AppendSection(nil, &t, s.actors[r.actor].actor, r.seq, r.seq, []Delta{s.delta(r)})
	dst = wire.AppendArray(dst, 2)
	dst = wire.AppendArray(dst, len(t.Actors()))
	for _, a := range t.Actors() {
		dst = clock.AppendActor(dst, a)
	}
	return append(dst, section...)
}

// noteDirty notes that r became live or was removed.
func (v *saving) noteDirty(r *record) {
	if v.journals {
		v.dirtyRecords = append(v.dirtyRecords, r)
	}
}

// Restore adds one entry of an image to a store that no goroutine uses yet. The caller adds
// the entries in the order of their keys. An error names the entry and the fault, and leaves
// the store as it was. Restored records appear in Changes, and Journal does not return them
// again. Restore leaves out a record with a path beyond the limits, which early versions
// accepted.
func (s *Store) Restore(e Saved) error {
	journals := s.journals
	s.journals = false
	defer func() { s.journals = journals }()
	if err := s.restore(e); err != nil {
		return fmt.Errorf("entry %x of the image: %w", e.Key, err)
	}
	return nil
}

func (s *Store) restore(e Saved) error {
	if _, err := wire.Check(e.Value, wire.Limits{Bytes: wire.MaxFrameBytes, Depth: 8}); err != nil {
		return err
	}
	r := wire.NewReader(e.Value)
	if len(e.Key) > 0 && e.Key[0] == entrySeen {
		c, err := clock.ReadContext(&r)
		if err != nil {
			return err
		}
		s.Adopt(c)
		return nil
	}
	if r.ArrayLen() != 2 {
		r.Fail("saved record")
	}
	var t ActorTable
	for range r.ArrayLen() {
		t.Index(clock.ReadActor(&r))
	}
	res, err := s.JoinSection(&r, t.Actors(), math.MaxUint64)
	if bad, ok := errors.AsType[*wire.Error](err); ok && bad.Reason == pathLimits {
		return nil // every peer would refuse a section with this record
	}
	if err == nil && res.Duplicates > 0 {
		err = errors.New("its dot is there already")
	}
	return err
}

// saving holds what the next call of Journal returns.
type saving struct {
	journals      bool          // Config.Journal
	dirtyRecords  []*record     // records that became live or were removed since the last call
	dirtyContexts []clock.Actor // actors with dots that were seen since the last call
}
