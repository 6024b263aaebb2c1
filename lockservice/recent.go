package lockservice

import "time"

// recent is a set of instances of a fixed capacity, which drops the oldest for a new one.
type recent struct {
	set  map[Inst]bool
	ring []Inst // the elements of set, in the order of their arrival until it holds most
	at   int    // index of the oldest of a full ring, which is replaced next
	most int
}

func newRecent(most int) recent {
	return recent{set: make(map[Inst]bool), most: most}
}

func (r *recent) has(i Inst) bool { return r.set[i] }

func (r *recent) add(i Inst) {
	if r.set[i] {
		return
	}
	r.set[i] = true
	if len(r.ring) < r.most {
		r.ring = append(r.ring, i)
		return
	}
	delete(r.set, r.ring[r.at])
	r.ring[r.at] = i
	r.at = (r.at + 1) % r.most
}

// tombstones holds the bearers' instances whose release an acceptor saw, by their N. Other peers
// may take such a lease for held until its time would have run out, and a tombstone stays
// for longer than that.
type tombstones struct {
	young, old map[uint64]struct{}
	since      time.Duration // when young was emptied last
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

// age moves young to old every span. An element stays for at least one span and at most two.
func (s *tombstones) age(now, span time.Duration) {
	if now-s.since >= span {
		s.young, s.old, s.since = nil, s.young, now
	}
}
