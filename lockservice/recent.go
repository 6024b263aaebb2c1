package lockservice

import "time"

// recent remembers the latest instances of something.
type recent struct {
	set  map[Inst]bool
	ring []Inst // the same, in order
	at   int
}

func newRecent(most int) recent {
	return recent{set: make(map[Inst]bool), ring: make([]Inst, most)}
}

func (r *recent) has(i Inst) bool { return r.set[i] }

func (r *recent) add(i Inst) {
	if r.set[i] {
		return
	}
	delete(r.set, r.ring[r.at])
	r.set[i], r.ring[r.at] = true, i
	r.at = (r.at + 1) % len(r.ring)
}

// tombstones are the bearer leases of which an acceptor saw the release, by the random
// part of their names. Other peers may take such a lease for theirs until it would have
// run out; a tombstone stays for longer than that.
type tombstones struct {
	young, old map[uint64]struct{}
	since      time.Duration // when young was begun
}

func (s *tombstones) has(i Inst) bool {
	_, young := s.young[i.N]
	_, old := s.old[i.N]
	return young || old
}

func (s *tombstones) add(i Inst) {
	if s.young == nil {
		s.young = make(map[uint64]struct{})
	}
	s.young[i.N] = struct{}{}
}

// age forgets what is older than twice span, and keeps all for span at least.
func (s *tombstones) age(now, span time.Duration) {
	if now-s.since >= span {
		s.young, s.old, s.since = nil, s.young, now
	}
}
