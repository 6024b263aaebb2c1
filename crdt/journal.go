package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Saved is one entry of a store's image on disk, a plain sorted map of bytes to
// bytes. A nil Value deletes.
type Saved struct{ Key, Value []byte }

// The image has a key for each live record and one for what was seen of each actor:
//
//	'r' actor(14) seq(8)   [[actor, …], section]   a section of one record
//	's' actor(14)          context of that actor
const (
	entryRecord = 'r'
	entrySeen   = 's'
)

// Journal takes what changed since the last call, for a store with Config.Journal:
// applied to the image in order, it makes it the store's. All of it belongs in one
// transaction, for a context must not outlive its records.
func (s *Store) Journal() []Saved {
	if len(s.dirty) == 0 && len(s.heard) == 0 {
		return nil
	}
	list := make([]Saved, 0, len(s.dirty)+len(s.heard))
	for _, r := range s.dirty {
		actor := s.actors[r.actor].actor
		e := Saved{Key: binary.BigEndian.AppendUint64(actorKey(entryRecord, actor), r.seq)}
		if r.live() {
			e.Value = s.appendSaved(nil, r)
		}
		list = append(list, e)
	}
	for _, a := range s.heard {
		one := clock.NewContext()
		span := s.context.Span(a).Clone()
		// What is beyond the limit of a context counts as not seen, and is heard again.
		span.Ranges = span.Ranges[:min(len(span.Ranges), wire.MaxGapRanges)]
		one.Ensure(a).Join(span)
		list = append(list, Saved{actorKey(entrySeen, a), one.AppendTo(nil)})
		if i, ok := s.number[a]; ok {
			s.actors[i].heard = false
		}
	}
	clear(s.dirty)
	s.dirty, s.heard = s.dirty[:0], s.heard[:0]
	return list
}

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

// dirtied notes that r came or went.
func (v *saving) dirtied(r *record) {
	if v.journals {
		v.dirty = append(v.dirty, r)
	}
}

// Restore adds an entry of an image, in the order of the keys, to a store that
// nobody uses yet. An error names the entry and what is wrong with it; the store is as before it.
// What was restored shows as changes and is not journalled again. A record with a path
// beyond the limits, which early versions took, is left out.
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
		return nil // no peer would take it, nor any section with it
	}
	if err == nil && res.Duplicates > 0 {
		err = errors.New("its dot is there already")
	}
	return err
}

// saving is what Journal is to return.
type saving struct {
	journals bool          // whether there is a journal
	dirty    []*record     // records that came or went since Journal
	heard    []clock.Actor // actors of whom dots were seen since Journal
}
