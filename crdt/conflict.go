package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Conflict is one concurrent write that lost, or a record that was dropped because another
// peer, the Winner's actor, holds it no more: the journal's entry.
type Conflict struct {
	Key    string
	Path   string // inside an object, in JSON pointer form; "" for the key itself
	Rule   string // what decided
	Winner Side
	Loser  Side
}

// Side is one of two concurrent writes.
type Side struct {
	Value Value // absent for a delete
	Dot   clock.Dot
	Stamp clock.Timestamp
}

func (s *Store) side(r *record) Side {
	return Side{content(r), clock.Dot{Actor: s.actors[r.actor].actor, Seq: r.seq}, r.stamp}
}

// journal enters that loser gave way by a rule, and forgets the oldest entry for it.
func (s *Store) journal(rule string, winner Side, loser *record) {
	size := uint64(len(s.conflicts))
	if s.journaled-s.dropped == size {
		s.dropConflict()
	}
	s.conflicts[s.journaled%size] = Conflict{
		Key:    loser.cell.key(),
		Path:   pointer(loser.path()),
		Rule:   rule,
		Winner: winner,
		Loser:  s.side(loser),
	}
	s.conflictBytes += s.conflicts[s.journaled%size].bytes()
	s.journaled++
	most := maxConflictBytes
	if s.maxBytes > 0 {
		most = min(most, s.maxBytes/16)
	}
	for s.conflictBytes > most && s.journaled-s.dropped > 1 {
		s.dropConflict()
	}
}

// maxConflictBytes bounds the values that the journal keeps from being freed, as does a
// sixteenth of Config.MaxBytes.
const maxConflictBytes = 16 << 20

func (c *Conflict) bytes() int {
	return len(c.Key) + len(c.Path) + len(c.Winner.Value.raw) + len(c.Loser.Value.raw)
}

// dropConflict forgets the oldest entry.
func (s *Store) dropConflict() {
	oldest := &s.conflicts[s.dropped%uint64(len(s.conflicts))]
	s.conflictBytes -= oldest.bytes()
	*oldest = Conflict{}
	s.dropped++
}

// Conflicts returns journal entries of keys that match (nil: all), newest first,
// at most limit.
func (s *Store) Conflicts(match func(key string) bool, limit int) []Conflict {
	var list []Conflict
	size := uint64(len(s.conflicts))
	for i := s.journaled; i > s.dropped && len(list) < limit; i-- {
		if c := s.conflicts[(i-1)%size]; match == nil || match(c.Key) {
			list = append(list, c)
		}
	}
	return list
}
