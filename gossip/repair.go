package gossip

import (
	"cmp"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// gap is the dots of one actor that are known to exist and have not arrived.
type gap struct {
	upTo          uint64    // highest number that is known to exist
	requestedBase uint64    // number up to which nothing was missing at the last request
	source        *peer     // the peer that first showed the gap, or that asked for an acknowledgement of it
	tries         int       // requests so far; expedite begins anew
	fruitless     int       // requests since the base last moved
	at            time.Time // when the next request is due
	requestedAt   time.Time // when the last request was sent
	askedPeer     *peer     // the peer that got it
	quarantined   bool      // missing because a timestamp is too far ahead, and not lost
	soleSource    *peer     // the only peer that has named the actor, which is no member; nil otherwise
}

// repairs request what is missing.
type repairs struct {
	*shared
	gaps map[clock.Actor]*gap
	rtt  time.Duration // last time from a request to its answer, of any peer; 0 before the first
}

// peerRepair is the state that repairs keep for each peer.
type peerRepair struct {
	answers  answers       // answers to the peer's gap requests
	soleGaps int           // gaps of which the peer is the soleSource
	rtt      time.Duration // time from the last request to its answer; 0 before the first
}

const (
	gapRanges          = 64               // ranges of one request
	gapMax             = 2 * time.Second  // greatest pause between requests for a gap
	hopelessAfter      = 20               // fruitless requests after which the only peer with the dots has probably gone
	gapMaxHopeless     = time.Minute      // greatest pause between requests after that
	quarantineRetry    = 10 * time.Second // pause between requests for dots whose timestamp is too far ahead
	repairBytes        = 256 << 10        // bytes of an answer
	maxSoleGaps        = 64               // gaps that one peer may show of actors that only it has named; syncs bring the rest
	maxAnswersPerRange = 16               // answers to one peer for one range in a second
	maxAnswerBytes     = 8 << 20          // bytes of the answers to one peer in a second
	maxAnswerRanges    = 1 << 12          // ranges answered to one peer in a second
)

// noteGap notes a gap if any dot of a up to seq is missing, and closes a gap that is filled. slow says
// that a dot is missing because its timestamp is too far ahead. noteGap returns false
// if it ignores seq: one peer may show only maxSoleGaps actors that nobody else has named, and a
// sender that is no member none.
func (s *repairs) noteGap(now time.Time, from *peer, a clock.Actor, seq uint64, slow bool) bool {
	var base uint64
	span := s.store.Context().Span(a)
	if span != nil {
		base = span.Base
	}
	if base >= seq {
		if g := s.gaps[a]; g != nil && base >= g.upTo {
			if g.tries == 1 && g.askedPeer == from && from != nil { // after two requests it would be unknown which one was answered
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

// closeGap forgets the gap of an actor, if there is one.
func (s *repairs) closeGap(a clock.Actor) {
	if g := s.gaps[a]; g != nil && g.soleSource != nil {
		g.soleSource.soleGaps--
	}
	delete(s.gaps, a)
}

// sourceGone reports whether the only peer that named a has left. The gap can then be forgotten: if its
// dots exist, a sync brings them.
func (s *repairs) sourceGone(a clock.Actor, g *gap) bool {
	return g.soleSource != nil && s.byActor[g.soleSource.Actor] != g.soleSource && s.byActor[a] == nil
}

// expedite requests the gap of a from a peer at the next Tick, unless an answer may still come. The peer has
// announced heads, so its burst is over and what has not arrived was lost.
func (s *repairs) expedite(now time.Time, from *peer, a clock.Actor) {
	if g := s.gaps[a]; g != nil && !g.quarantined && (g.askedPeer == nil || now.Sub(g.requestedAt) >= s.answerTime(g.askedPeer)) {
		g.at, g.source, g.tries = now, from, 0
	}
}

// repair requests the gaps that are due.
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

// answerTime returns the time after which an answer of p counts as lost.
func (s *repairs) answerTime(p *peer) time.Duration {
	rtt := cmp.Or(p.rtt, s.rtt, s.cfg.Repair/2)
	return max(2*rtt, s.cfg.Repair/4)
}

// noteRTT records the time from a request to the answer of p.
func (s *repairs) noteRTT(p *peer, rtt time.Duration) { p.rtt, s.rtt = rtt, rtt }

// pickPeer returns the peer to request g from: its source, and after three tries a random peer that is
// up. It returns nil if no peer is up.
func (s *repairs) pickPeer(g *gap) *peer {
	if g.tries < 3 && g.source != nil && g.source.Alive && s.byActor[g.source.Actor] == g.source {
		return g.source
	}
	if len(s.living) == 0 {
		return nil
	}
	return s.living[s.rng.IntN(len(s.living))]
}

// gapRequest receives a gap request, and answers it with the live records in the ranges.
func (in *incoming) gapRequest(r *wire.Reader, n int) {
	e := in.e
	if n%3 != 0 || n/3 > 4*gapRanges {
		r.Fail("gap request")
		return
	}
	w := e.begin()
	records, wanted := 0, uint64(0)
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
				wanted += have.Last - have.First + 1
			}
		}
	}
	if wanted > uint64(records) {
		e.writeDigest(w, in.now, 0) // some records are gone, and only a sync can tell that
	}
	if w.sections > 0 && r.Err() == nil {
		in.from.answers.bytes += len(w.body)
		e.stats.GapAnswers++
		e.send(in.now, in.from, Packet, e.finish(w, records, false))
	}
}

// answers bounds the cost of one peer's gap requests within a second: an answer may be five thousand
// times as long as its request.
type answers struct {
	since time.Time        // beginning of the second
	bytes int              // bytes of all answers
	given map[rangeKey]int // number of answers for each range
}

// rangeKey names a range by its start, which repeated requests for a gap have in common.
type rangeKey struct {
	clock.Actor
	first uint64
}

// allow reports whether to answer a request for dots of a from first on, and counts it.
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

// intersect returns the parts of first to last that the span contains.
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
