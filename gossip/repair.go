package gossip

import (
	"cmp"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// gap is what is missing of one actor and is known to exist.
type gap struct {
	upTo          uint64
	requestedBase uint64 // up to where nothing was missing at the last request
	source        *peer  // who showed it
	tries         int
	fruitless     int       // requests since the base moved
	at            time.Time // when to ask
	requestedAt   time.Time // last
	askedPeer     *peer     // the last asked
	quarantined   bool      // set aside for its time, not lost: no hurry
	soleSource    *peer     // who showed it, if nothing else was heard of its actor
}

// repairs ask for what is missing and known to exist.
type repairs struct {
	*shared
	gaps map[clock.Actor]*gap
	rtt  time.Duration // the last of any peer
}

// peerHoles is what is kept of a peer for the repair of holes.
type peerRepair struct {
	answers  answers       // to its requests
	soleGaps int           // holes that it showed of actors that nothing else was heard of
	rtt      time.Duration // until its last answer; 0 before
}

const (
	gapRanges          = 64               // asked for at once
	gapMax             = 2 * time.Second  // between requests for one gap
	gapMaxHopeless     = time.Minute      // the same for one that nobody may have any more
	hopelessAfter      = 20               // after which the only peer that had it is likely gone
	quarantineRetry    = 10 * time.Second // the same for what is set aside
	repairBytes        = 256 << 10        // of an answer
	maxSoleGaps        = 64               // gaps of unknown actors, by one who shows them: a sync tells of the rest
	maxAnswersPerRange = 16               // to one peer's requests for one range, within a second
	maxAnswerBytes     = 8 << 20          // to one peer's requests, within a second
	maxAnswerRanges    = 1 << 12          // the same, ranges
)

// noteGap remembers that seq of a exists, if anything up to it is missing, and reports
// whether it believes it: from may show few actors of whom nobody else has spoken, and
// none while it is no member.
func (s *repairs) noteGap(now time.Time, from *peer, a clock.Actor, seq uint64, slow bool) bool {
	var base uint64
	span := s.store.Context().Span(a)
	if span != nil {
		base = span.Base
	}
	if base >= seq {
		if g := s.gaps[a]; g != nil && base >= g.upTo {
			if g.tries == 1 && g.askedPeer == from && from != nil { // which of two requests was answered cannot be told
				s.noteRTT(from, now.Sub(g.requestedAt))
			}
			s.closeGap(a)
		}
		return true
	}
	g := s.gaps[a]
	if g == nil {
		g = &gap{source: from, at: now.Add(s.cfg.Repair)}
		if span == nil && s.byActor[a] == nil {
			if from == nil || from.soleGaps >= maxSoleGaps {
				return false
			}
			from.soleGaps++
			g.soleSource = from
		}
		s.gaps[a] = g
	}
	g.upTo = max(g.upTo, seq)
	if slow && !g.quarantined {
		g.quarantined, g.at = true, now.Add(quarantineRetry)
	}
	return true
}

func (s *repairs) closeGap(a clock.Actor) {
	if g := s.gaps[a]; g != nil && g.soleSource != nil {
		g.soleSource.soleGaps--
	}
	delete(s.gaps, a)
}

// hearsay reports whether only one who is forgotten has spoken of a: what does exist, a
// sync tells of.
func (s *repairs) sourceGone(a clock.Actor, g *gap) bool {
	return g.soleSource != nil && s.byActor[g.soleSource.Actor] != g.soleSource && s.byActor[a] == nil
}

// hurry asks from for what is missing of a now: a burst is over for so long that what
// is not here was lost, or the last answer was.
func (s *repairs) expedite(now time.Time, from *peer, a clock.Actor) {
	if g := s.gaps[a]; g != nil && !g.quarantined && (g.askedPeer == nil || now.Sub(g.requestedAt) >= s.answerTime(g.askedPeer)) {
		g.at, g.source, g.tries = now, from, 0
	}
}

// repair asks for what is missing and overdue.
func (s *repairs) repair(now time.Time) {
	if len(s.gaps) == 0 {
		return
	}
	var dueFor []clock.Actor
	for a, g := range s.gaps {
		if due(g.at, now) {
			dueFor = append(dueFor, a)
		}
	}
	slices.SortFunc(dueFor, clock.Actor.Compare)
	for _, a := range dueFor {
		g := s.gaps[a]
		span := s.store.Context().Span(a)
		if span != nil && span.Base >= g.upTo || span == nil && s.sourceGone(a, g) {
			s.closeGap(a)
			continue
		}
		var missing []clock.Range
		if span == nil {
			span = new(clock.Span)
		}
		span.Missing(g.upTo, func(r clock.Range) bool {
			missing = append(missing, r)
			return len(missing) < gapRanges
		})
		p := s.pickPeer(g)
		if p == nil {
			g.at = now.Add(gapMax)
			continue
		}
		w := s.begin()
		w.section(secGaps, 3*len(missing))
		for _, r := range missing {
			w.actor(a)
			w.uint(r.First)
			w.uint(r.Last)
		}
		s.send(now, p, Packet, s.finish(w, 0, false))
		s.stats.GapRequests++
		if g.tries > 0 && g.askedPeer == p {
			s.probeUnlessRecent(now, p)
		}
		if g.fruitless++; span.Base > g.requestedBase {
			g.requestedBase, g.fruitless = span.Base, 0
		}
		wait := min(s.answerTime(p)<<min(max(g.tries-1, 0), 10), gapMax)
		if late := g.fruitless - hopelessAfter; late > 0 {
			wait = min(gapMax<<min(late, 10), gapMaxHopeless)
		}
		if g.quarantined {
			wait = quarantineRetry
		}
		g.tries++
		g.requestedAt, g.askedPeer = now, p
		g.at = now.Add(wait)
	}
}

// answerTime is how long an answer of p may take before it counts as lost.
func (s *repairs) answerTime(p *peer) time.Duration {
	rtt := cmp.Or(p.rtt, s.rtt, s.cfg.Repair/2)
	return max(2*rtt, s.cfg.Repair/4)
}

// timed notes how long a round trip took.
func (s *repairs) noteRTT(p *peer, rtt time.Duration) { p.rtt, s.rtt = rtt, rtt }

// askable returns whom to ask: who showed the gap, and after three tries anyone.
func (s *repairs) pickPeer(g *gap) *peer {
	if g.tries < 3 && g.source != nil && g.source.Alive && s.byActor[g.source.Actor] == g.source {
		return g.source
	}
	if len(s.living) == 0 {
		return nil
	}
	return s.living[s.rng.IntN(len(s.living))]
}

// gapRequest answers with what this peer has of the ranges.
func (in *incoming) gapRequest(r *wire.Reader, n int) {
	e := in.e
	if n%3 != 0 || n/3 > 4*gapRanges {
		r.Fail("gap request")
		return
	}
	w := e.begin()
	records, asked := 0, uint64(0)
	for i := 0; i < n/3 && r.Err() == nil; i++ {
		a, first, last := in.actor(r), r.Uint(), r.Uint()
		if r.Err() != nil || in.from == nil {
			continue
		}
		if !in.from.answers.allow(in.now, a, first) {
			e.stats.GapsUnanswered++
			continue
		}
		for _, have := range intersect(e.store.Context().Span(a), first, last) {
			if len(w.body) < repairBytes {
				_, n := e.fill(w, secDeltas, a, have, repairBytes)
				records += n
				asked += have.Last - have.First + 1
			}
		}
	}
	if asked > uint64(records) {
		e.writeDigest(w, in.now, 0) // the rest is gone, which takes a sync to tell
	}
	if w.sections > 0 && r.Err() == nil {
		in.from.answers.bytes += len(w.body)
		e.stats.GapAnswers++
		e.send(in.now, in.from, Packet, e.finish(w, records, false))
	}
}

// answers bounds what a peer's requests for gaps cost, second by second: a request is
// short, and its answer may be five thousand times as long.
type answers struct {
	since time.Time
	bytes int
	given map[rangeKey]int
}

// asked is a range that was asked for. Of one gap, whose start has not moved, each
// request has the same.
type rangeKey struct {
	clock.Actor
	first uint64
}

// allow reports whether to answer a request for what a wrote from first on, and counts it.
func (t *answers) allow(now time.Time, a clock.Actor, first uint64) bool {
	if now.Sub(t.since).Abs() >= time.Second {
		*t = answers{since: now, given: make(map[rangeKey]int)}
	}
	key := rangeKey{a, first}
	if t.given[key] >= maxAnswersPerRange || t.bytes >= maxAnswerBytes || len(t.given) >= maxAnswerRanges {
		return false
	}
	t.given[key]++
	return true
}

// contained returns which parts of first..last the span holds.
func intersect(s *clock.Span, first, last uint64) []clock.Range {
	if s == nil || first == 0 || first > last {
		return nil
	}
	var list []clock.Range
	if first <= s.Base {
		list = append(list, clock.Range{First: first, Last: min(last, s.Base)})
	}
	for _, r := range s.Ranges {
		if r.Last >= first && r.First <= last {
			list = append(list, clock.Range{First: max(r.First, first), Last: min(r.Last, last)})
		}
	}
	return list
}
