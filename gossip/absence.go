package gossip

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// In a reconciliation the receiver of a list drops the records that the list lacks. An empty
// list from a faulty peer would therefore empty a store. So beyond a few records, the receiver
// keeps what one peer reports as absent until another peer reports the same, or
// until the peer has reported it for ten minutes (docs/decisions/0031).

const (
	maxUnconfirmedDrops = 64          // records dropped for one peer's lists alone, within believeAfter
	confirmEvery        = time.Second // least pause between two requests to confirm one peer's lists
)

// peerAbsence is the state kept for each peer about its lists.
type peerAbsence struct {
	dropped        int                     // records dropped for its lists alone since droppedSince
	droppedSince   time.Time               // when that count began
	absent         map[clock.Dot]time.Time // live records that its lists lack, and since when; at most maxListedDots
	confirmAskedAt time.Time               // when another peer was last asked about them
}

// dropAbsent takes the dots of live records that p's list lacks. It drops those whose absence is to be
// believed by now, and asks another peer about the rest by sending it the checksums.
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
		since, reported := p.absent[d]
		second := func(q *peer) bool { _, too := q.absent[d]; return too }
		switch {
		case believed || reported && now.Sub(since) >= believeAfter || slices.ContainsFunc(others, second):
			s.store.Drop(d, p.Actor, clock.TimestampAt(now))
			dropped++
		case !reported && len(p.absent) < maxListedDots:
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

// Disputed calls f for each living peer that has reported records as absent which this peer still
// keeps, with their number.
func (m *Members) Disputed(f func(name string, records int)) {
	for _, p := range m.living {
		if n := len(p.absent); n > 0 {
			f(p.Name, n)
		}
	}
}

// isLive reports whether s holds the record of d.
func isLive(s *crdt.Store, d clock.Dot) (live bool) {
	s.Live(d.Actor, d.Seq, d.Seq, func(crdt.Delta) bool {
		live = true
		return false
	})
	return live
}
