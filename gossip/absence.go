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
	maxUnconfirmedDrops = 64          // records that a peer's lists take within ten minutes without a second word
	confirmEvery        = time.Second // another is asked about what one peer says is gone
)

// peerAbsence is what is kept of a peer's lists.
type peerAbsence struct {
	dropped        int // records that they have taken at its word
	droppedSince   time.Time
	absent         map[clock.Dot]time.Time // what they say is gone, and is not dropped yet: since when
	confirmAskedAt time.Time               // when another was asked about that
}

// taken drops what p's lists say is gone, as far as that is to be believed by now, and asks
// another peer about the rest.
func (s *reconciling) dropAbsent(now time.Time, p *peer, dots []clock.Dot) {
	if len(dots) == 0 {
		return
	}
	if now.Sub(p.droppedSince) >= believeAfter {
		p.dropped, p.droppedSince = 0, now
	}
	others := slices.DeleteFunc(slices.Clone(s.living), func(q *peer) bool { return q == p || q.silent(now) })
	believed := len(others) == 0 || p.dropped+len(dots) <= maxUnconfirmedDrops
	dropped := 0
	for _, d := range dots {
		since, said := p.absent[d]
		second := func(q *peer) bool { _, too := q.absent[d]; return too }
		switch {
		case believed || said && now.Sub(since) >= believeAfter || slices.ContainsFunc(others, second):
			s.store.Drop(d, p.Actor, clock.TimestampAt(now))
			dropped++
		case !said && len(p.absent) < maxListedDots:
			if p.absent == nil {
				p.absent = make(map[clock.Dot]time.Time)
			}
			p.absent[d] = now
		}
	}
	if believed {
		p.dropped += dropped
	}
	if dropped > 0 {
		s.noteChange(now)
	}
	for _, q := range s.living {
		maps.DeleteFunc(q.absent, func(d clock.Dot, _ time.Time) bool { return !isLive(s.store, d) })
	}
	if dropped == len(dots) {
		return
	}
	if now.Sub(p.confirmAskedAt) >= confirmEvery {
		p.confirmAskedAt = now
		s.sendSums(now, others[s.rng.IntN(len(others))])
	}
}

// Disputed calls f for each living peer that says of records that they are gone while no
// other does, with how many.
func (m *Members) Disputed(f func(name string, records int)) {
	for _, p := range m.living {
		if n := len(p.absent); n > 0 {
			f(p.Name, n)
		}
	}
}

// holds reports whether the record of d is live.
func isLive(s *crdt.Store, d clock.Dot) (live bool) {
	s.Live(d.Actor, d.Seq, d.Seq, func(crdt.Delta) bool {
		live = true
		return false
	})
	return live
}
