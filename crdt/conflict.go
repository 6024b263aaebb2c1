package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Conflict is an entry of the conflict journal. It describes one concurrent write that
// lost, or a record that Drop removed because another peer, the Winner's actor, no longer
// holds it.
type Conflict struct {
	Key    string
	Path   string // path inside an object as a JSON pointer; "" for the key itself
	Rule   string // the rule that decided, in words
	Winner Side
	Loser  Side
}

// Side is one of two concurrent writes.
type Side struct {
	Value Value // absent for a delete
	Dot   clock.Dot
	Stamp clock.Timestamp
}

// conflictLog is the conflict journal. It keeps the latest conflicts, bounded in number
// and in bytes.
type conflictLog struct {
	conflicts     []Conflict // a ring buffer once it has limit entries
	limit         uint64     // greatest number of entries
	entered       uint64     // number of conflicts so far
	forgotten     uint64     // number of conflicts that left the ring, which are the oldest
	conflictBytes int        // bytes of keys, paths and values in the ring
}

// noteConflict enters into the conflict journal that loser lost to winner by rule.
func (s *Store) noteConflict(rule string, winner Side, loser *record) {
	maxBytes := maxConflictBytes
	if s.maxBytes > 0 {
		maxBytes = min(maxBytes, s.maxBytes/16)
	}
	s.add(Conflict{
		Key:    loser.cell.key(),
		Path:   pointer(loser.path()),
		Rule:   rule,
		Winner: winner,
		Loser:  s.side(loser),
	}, maxBytes)
}

// add enters c. It forgets the oldest entries while the ring has more than maxBytes bytes,
// but always keeps c.
func (l *conflictLog) add(c Conflict, maxBytes int) {
	if l.entered-l.forgotten == l.limit {
		l.forgetOldest()
	}
	if l.entered < l.limit {
		l.conflicts = append(l.conflicts, c)
	} else {
		l.conflicts[l.entered%l.limit] = c
	}
	l.conflictBytes += c.bytes()
	l.entered++
	for l.conflictBytes > maxBytes && l.entered-l.forgotten > 1 {
		l.forgetOldest()
	}
}

// maxConflictBytes bounds the bytes that the conflict journal keeps from being freed. A
// sixteenth of Config.MaxBytes is the bound if that is less.
const maxConflictBytes = 16 << 20

func (c *Conflict) bytes() int {
	return len(c.Key) + len(c.Path) + len(c.Winner.Value.raw) + len(c.Loser.Value.raw)
}

// forgetOldest removes the oldest entry.
func (l *conflictLog) forgetOldest() {
	oldest := &l.conflicts[l.forgotten%l.limit]
	l.conflictBytes -= oldest.bytes()
	*oldest = Conflict{}
	l.forgotten++
}

// Conflicts returns at most limit entries of the conflict journal whose keys match, newest
// first. A nil match selects every key.
func (l *conflictLog) Conflicts(match func(key string) bool, limit int) []Conflict {
	var list []Conflict
	for i := l.entered; i > l.forgotten && len(list) < limit; i-- {
		if c := l.conflicts[(i-1)%l.limit]; match == nil || match(c.Key) {
			list = append(list, c)
		}
	}
	return list
}
