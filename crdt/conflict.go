package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Conflict is one concurrent write that lost: the journal's entry.
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

func (s *Store) journal(winner, loser *record) {
	rule := "later stamp"
	if winner.stamp == loser.stamp {
		rule = "equal stamps, greater actor"
	}
	s.conflicts[s.journaled%uint64(len(s.conflicts))] = Conflict{
		Key:    winner.cell.key(),
		Path:   pointer(winner.path()),
		Rule:   rule,
		Winner: s.side(winner),
		Loser:  s.side(loser),
	}
	s.journaled++
}

// Conflicts returns journal entries of keys that match (nil: all), newest first,
// at most limit.
func (s *Store) Conflicts(match func(key string) bool, limit int) []Conflict {
	var list []Conflict
	size := uint64(len(s.conflicts))
	for i := s.journaled; i > 0 && s.journaled-i < size && len(list) < limit; i-- {
		if c := s.conflicts[(i-1)%size]; match == nil || match(c.Key) {
			list = append(list, c)
		}
	}
	return list
}
