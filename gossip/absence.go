package gossip

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A list takes away what its sender does not name, so one that names nothing and lies
// empties a store. What a peer says is gone, beyond a few records, stays until another says
// so too or the peer has said so for ten minutes (docs/decisions/0031).

const (
	takenAtWord = 64          // records that a peer's lists take within ten minutes without a second word
	doubtEvery  = time.Second // another is asked about what one peer says is gone
)

// peerAbsence is what is kept of a peer's lists.
type peerAbsence struct {
	taken      int // records that they have taken at its word
	takenSince time.Time
	gone       map[clock.Dot]time.Time // what they say is gone, and is not dropped yet: since when
	doubted    time.Time               // when another was asked about that
}

// taken drops what p's lists say is gone, as far as that is to be believed by now, and asks
// another peer about the rest.
func (s *reconciling) taken(now time.Time, p *peer, dots []clock.Dot) {
	if len(dots) == 0 {
		return
	}
	if now.Sub(p.takenSince) >= calm {
		p.taken, p.takenSince = 0, now
	}
	others := slices.DeleteFunc(slices.Clone(s.living), func(q *peer) bool { return q == p || q.silent(now) })
	believed := len(others) == 0 || p.taken+len(dots) <= takenAtWord
	dropped := 0
	for _, d := range dots {
		since, said := p.gone[d]
		second := func(q *peer) bool { _, too := q.gone[d]; return too }
		switch {
		case believed || said && now.Sub(since) >= calm || slices.ContainsFunc(others, second):
			s.store.Drop(d, p.Actor, clock.TimestampAt(now))
			dropped++
		case !said && len(p.gone) < dotsAFrame:
			if p.gone == nil {
				p.gone = make(map[clock.Dot]time.Time)
			}
			p.gone[d] = now
		}
	}
	if believed {
		p.taken += dropped
	}
	if dropped > 0 {
		s.touch(now)
	}
	for _, q := range s.living {
		maps.DeleteFunc(q.gone, func(d clock.Dot, _ time.Time) bool { return !holds(s.store, d) })
	}
	if dropped == len(dots) {
		return
	}
	if now.Sub(p.doubted) >= doubtEvery {
		p.doubted = now
		s.sendSums(now, others[s.rng.IntN(len(others))])
	}
}

// Disputed calls f for each living peer that says of records that they are gone while no
// other does, with how many.
func (m *Members) Disputed(f func(name string, records int)) {
	for _, p := range m.living {
		if n := len(p.gone); n > 0 {
			f(p.Name, n)
		}
	}
}

// holds reports whether the record of d is live.
func holds(s *crdt.Store, d clock.Dot) (live bool) {
	s.Live(d.Actor, d.Seq, d.Seq, func(crdt.Delta) bool {
		live = true
		return false
	})
	return live
}
