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

// conflictLog keeps the latest conflicts, within bounds of number and bytes.
type conflictLog struct {
	conflicts     []Conflict // a ring once it holds limit entries
	limit         uint64     // most entries
	journaled     uint64     // number of conflicts so far
	dropped       uint64     // number of those that are forgotten, the oldest
	conflictBytes int
}

// noteConflict enters that loser gave way by a rule, and forgets the oldest entry for it.
func (s *Store) noteConflict(rule string, winner Side, loser *record) {
	most := maxConflictBytes
	if s.maxBytes > 0 {
		most = min(most, s.maxBytes/16)
	}
	s.enter(Conflict{
		Key:    loser.cell.key(),
		Path:   pointer(loser.path()),
		Rule:   rule,
		Winner: winner,
		Loser:  s.side(loser),
	}, most)
}

// enter keeps c, and of all conflicts at most so many bytes.
func (l *conflictLog) enter(c Conflict, most int) {
	if l.journaled-l.dropped == l.limit {
		l.dropConflict()
	}
	if l.journaled < l.limit {
		l.conflicts = append(l.conflicts, c)
	} else {
		l.conflicts[l.journaled%l.limit] = c
	}
	l.conflictBytes += c.bytes()
	l.journaled++
	for l.conflictBytes > most && l.journaled-l.dropped > 1 {
		l.dropConflict()
	}
}

// maxConflictBytes bounds the values that the journal keeps from being freed, as does a
// sixteenth of Config.MaxBytes.
const maxConflictBytes = 16 << 20

func (c *Conflict) bytes() int {
	return len(c.Key) + len(c.Path) + len(c.Winner.Value.raw) + len(c.Loser.Value.raw)
}

// dropConflict forgets the oldest entry.
func (l *conflictLog) dropConflict() {
	oldest := &l.conflicts[l.dropped%l.limit]
	l.conflictBytes -= oldest.bytes()
	*oldest = Conflict{}
	l.dropped++
}

// Conflicts returns journal entries of keys that match (nil: all), newest first,
// at most limit.
func (l *conflictLog) Conflicts(match func(key string) bool, limit int) []Conflict {
	var list []Conflict
	for i := l.journaled; i > l.dropped && len(list) < limit; i-- {
		if c := l.conflicts[(i-1)%l.limit]; match == nil || match(c.Key) {
			list = append(list, c)
		}
	}
	return list
}
