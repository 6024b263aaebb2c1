package gossip

import (
	"iter"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	syncBytes     = 512 << 10              // bytes of the records in one answer
	minAskTimeout = 500 * time.Millisecond // shortest time that a request waits for its answer
	maxAskTimeout = 2 * time.Minute        // greatest minTimeout and answerWait
	answerAgain   = time.Second            // pause before a large answer is sent again for a repeated request; it doubles each time
	maxRequests   = 2                      // requests to one peer without an answer, after which a random peer is asked
	maxSyncs      = 2                      // syncs at once: different peers send mostly the same records
	minPause      = 50 * time.Millisecond  // pause after a sync with a peer that brought nothing; it doubles each time
	maxPause      = time.Second            // greatest such pause
)

// syncs fetch all that another peer has and this one lacks, and answer the requests of other peers.
type syncs struct {
	*shared
	*stability
	*reconciling
}

// peerSync is the state that syncs keep for each peer.
type peerSync struct {
	// The requests that this peer sends to the other.
	requestedAt     time.Time     // when the running request was sent; zero if none is running
	firstRequestAt  time.Time     // when the first request since the last answer was sent
	minTimeout      time.Duration // twice the time that the last answer took; 0 after a sync has ended
	lastRequest     uint64        // number of the last request
	lastFollowed    uint64        // answers to requests up to this number are not followed by another request
	repeats         int           // repeats of the running request
	unanswered      int           // requests since the last answer
	unansweredSince time.Time     // when the first of them was sent

	// The running sync with the other peer.
	covered        *clock.CausalContext // this peer's context, and the dots that the answers of the running sync cover; nil before the first
	coveredUpTo    clock.Actor          // the actor that the last answer may cover only in part
	requestContext *clock.CausalContext // the context in the running request
	requestClock   uint64               // what this peer's clock showed when that context was made, in Unix milliseconds
	requestWall    uint64               // peerDigest.wall when the sync began
	parts          []clock.Part         // parts of that context, see retire.go
	refined        int                  // number of times that the parts were split
	quarantined    bool                 // a record of the running sync was not merged, because its timestamp is too far ahead
	gained         bool                 // the running sync has brought something new

	// The pauses between syncs, and what the last one showed.
	notBefore  time.Time     // when the next sync may begin
	pauseTime  time.Duration // the pause until then, 0 if the last sync brought something
	syncedOnce bool          // a sync with the peer was completed since this peer started
	have       int           // records of the peer that this peer has, by the last answer
	total      int           // records of the peer

	// The requests that the other peer sends to this one.
	largeAnswered uint64        // number of the peer's request that last got an answer too long for a packet
	answerUntil   time.Time     // until then that answer may still be on its way, and repeats get none
	answerWait    time.Duration // the time until then, when the answer was sent
}

// askTimeout returns the time that an answer of p may take. It doubles with each repeat.
func (p *peer) askTimeout() time.Duration { return max(p.minTimeout, minAskTimeout) << p.repeats }

// requestSync begins a sync with p, unless one runs, too many run, or p is to be spared until
// notBefore. It sends this peer's context, and p answers with the records above it.
//
// Each answer that is not the last is followed by a request with the context that was reached by then. So a
// sync survives the loss of frames, and p sends no faster than this peer asks. Only the
// first answer to a request and its repeats is followed: otherwise each late answer
// would start another sync.
//
// A dot whose record is gone counts as seen only after the last answer (docs/decisions/0012). Until
// then the requests carry peerSync.covered, which contains such dots, in place of the
// context. Otherwise each request would list a gap for each such dot, and the gaps
// beyond wire.MaxGapRanges would be answered again for ever.
func (s *syncs) requestSync(now time.Time, p *peer) {
	if !p.requestedAt.IsZero() || s.underWay() >= maxSyncs {
		return
	}
	if now.Before(p.notBefore) {
		if p.digestDueAt.IsZero() {
			p.digestDueAt = p.notBefore
			s.schedule(p, p.digestDueAt)
		}
		return
	}
	if p.covered != nil || p.quarantined { // left over from a sync that was given up
		p.endSync()
		p.quarantined = false
	}
	if p.lastFollowed == p.lastRequest {
		p.firstRequestAt = now
	}
	p.requestWall = p.wall
	if p.held != nil { // the records above the held context are here already
		p.covered = p.held.Clone()
	}
	s.sendSyncRequest(now, p)
}

// endSync ends a sync with p. Answers that are still on their way are merged and not followed.
func (p *peer) endSync() {
	p.requestedAt, p.repeats, p.covered, p.gained = time.Time{}, 0, nil, false
	p.parts, p.refined = nil, 0
	p.lastFollowed = p.lastRequest
}

// pause makes the next sync with p wait, if this one brought nothing. Otherwise two peers that each lack
// dots in flight would request syncs in turn until these arrive.
func (p *peer) pause(now time.Time, gained bool) {
	p.pauseTime = min(max(2*p.pauseTime, minPause), maxPause)
	if gained {
		p.pauseTime = 0
	}
	p.notBefore = now.Add(p.pauseTime)
}

// underWay counts the peers that owe this one an answer.
func (s *syncs) underWay() int {
	n := 0
	for _, p := range s.scheduled {
		if p.Alive && !p.requestedAt.IsZero() && s.byActor[p.Actor] == p {
			n++
		}
	}
	return n
}

// sendSyncRequest sends p a request: a new one, or a repeat if the last one has no answer yet.
func (s *syncs) sendSyncRequest(now time.Time, p *peer) {
	p.requestedAt = now
	if p.lastFollowed == p.lastRequest {
		p.requestContext, p.requestClock = s.contextFor(now, p), uint64(max(now.UnixMilli(), 0))
	}
	p.lastRequest++
	if p.unanswered++; p.unanswered == 1 {
		p.unansweredSince = now
	}
	s.schedule(p, now.Add(p.askTimeout()))
	w := s.begin()
	w.section(secSyncRequest, 7)
	w.uint(p.lastRequest)
	w.bool(p.covered != nil)
	w.uint(s.store.Sum())
	known := p.requestContext.Summary(p.parts)
	w.body = bounded(known.Listed).AppendTo(w.body)
	w.uint(p.lastFollowed)
	w.body = clock.AppendParts(w.body, known.Parts)
	w.uint(p.requestClock)
	s.send(now, p, Packet, s.finish(w, 0, false))
	s.stats.SyncRequests++
}

// bounded returns c, or, if c has more ranges than a frame may hold, a context with its bases alone. The
// answer then repeats the records of those ranges.
func bounded(c *clock.CausalContext) *clock.CausalContext {
	ranges := 0
	for _, s := range c.All() {
		ranges += len(s.Ranges)
	}
	if ranges <= wire.MaxGapRanges {
		return c
	}
	b := clock.NewContext()
	for a, s := range c.All() {
		b.AddRange(a, 1, s.Base)
	}
	return b
}

// retrySyncs repeats requests whose answer is overdue. After maxRequests it begins a sync with a random
// peer, which may be the same one.
func (s *syncs) retrySyncs(now time.Time) {
	for _, p := range s.scheduled {
		if p.requestedAt.IsZero() || !p.Alive || now.Sub(p.requestedAt) < p.askTimeout() {
			continue
		}
		s.probeUnlessRecent(now, p)
		if p.repeats++; p.repeats < maxRequests {
			s.sendSyncRequest(now, p)
			continue
		}
		p.requestedAt, p.repeats = time.Time{}, 0
		if n := len(s.living); n > 1 {
			s.requestSync(now, s.living[s.rng.IntN(n)])
		}
	}
}

// syncRequest receives a request, and answers it with the live records above its context. A partial
// request contains dots that the peer counts as seen for this sync only, so it acknowledges nothing.
func (in *incoming) syncRequest(r *wire.Reader) {
	e, p := in.e, in.from
	request, partial, sum := r.Uint(), r.Bool(), r.Uint()
	listed, err := clock.ReadContext(r)
	heard, parts, shown := r.Uint(), clock.ReadParts(r), r.Uint()
	if err != nil || r.Err() != nil || p == nil {
		return
	}
	mine := e.store.Context()
	theirs, ok := mine.Resolve(clock.Summary{Listed: listed, Parts: parts})
	if !ok {
		e.refine(in.now, p, request, clock.Summary{Listed: listed, Parts: parts})
		return
	}
	if !partial {
		e.claim(p, theirs, shown)
	}
	if s := theirs.Span(e.cfg.Self); s != nil && s.Head() > e.store.Last() {
		e.cloned = true
	}
	covered, covers := mine.Covers(theirs), theirs.Covers(mine)
	if heard >= p.largeAnswered {
		p.answerWait = 0
	}
	if heard >= p.largeAnswered || !in.now.Before(p.answerUntil) { // otherwise the answer may still be on a slow stream
		e.answerSync(in.now, p, request, partial, theirs)
	}
	switch {
	case !covered:
		e.requestSync(in.now, p)
	case partial:
	case covers && sum != e.store.Sum():
		if p.mismatches++; p.mismatches >= 2 {
			e.sendSums(in.now, p)
		}
	case covers:
		p.mismatches = 0
		e.setSynced(p)
	}
}

// answerSync answers a request. After an answer too long for a packet it sets how long repeats of the
// request get no further answer: otherwise copies of one answer would fill a slow stream
// (docs/decisions/0022).
func (s *syncs) answerSync(now time.Time, p *peer, request uint64, partial bool, theirs *clock.CausalContext) {
	w := s.begin()
	more, records := s.writeState(now, w, p, theirs, false)
	whole := !more && (partial || s.hasUnpushedVoids(now, p, theirs))
	if whole {
		w = s.begin()
		more, records = s.writeState(now, w, p, theirs, true)
	}
	total := s.store.Stats().Live
	fields := 5
	differs := clock.NewContext()
	if whole && !more {
		mine := s.store.Context()
		all := false
		if differs, all = mine.FirstBeyond(theirs, maxContextActors, wire.MaxGapRanges); all {
			differs = mine.Differs(theirs)
		}
		more = !all // the reply has a part of the context, and the next request asks for the rest
		if differs.Len() <= wire.MaxListed {
			fields = 6
		}
	}
	w.section(secSyncReply, fields)
	w.uint(request)
	w.bool(more)
	w.uint(uint64(max(total-s.remaining(theirs), 0)))
	w.uint(uint64(total))
	w.uint(uint64(s.maxStamp))
	if fields == 6 {
		w.body = bounded(differs).AppendListed(w.body)
	}
	class := Packet
	if records > 0 || more {
		class = Bulk
	}
	frame := s.finish(w, records, true)
	if len(frame) > wire.MaxPacketBytes {
		p.answerWait = min(2*max(p.answerWait, answerAgain/2), maxAskTimeout)
		p.largeAnswered, p.answerUntil = request, now.Add(p.answerWait)
	}
	s.send(now, p, class, frame)
	if !more {
		p.behind = false
	}
}

// hasUnpushedVoids reports whether theirs lacks dots whose records are gone here and that are not in
// flight to p. Only this peer's whole context can tell p that they are gone.
func (s *syncs) hasUnpushedVoids(now time.Time, p *peer, theirs *clock.CausalContext) bool {
	for a, both := range s.store.Context().Against(theirs) {
		gone := false
		both.Theirs.Missing(s.landed(now, p, a, both), func(lack clock.Range) bool {
			for _, have := range intersect(both.Mine, lack.First, lack.Last) {
				next := have.First
				s.store.Live(a, have.First, have.Last, func(d crdt.Delta) bool {
					gone = gone || d.Seq() != next
					next = d.Seq() + 1
					return !gone
				})
				gone = gone || next <= have.Last
			}
			return !gone
		})
		if gone {
			return true
		}
	}
	return false
}

// writeState writes the live records that theirs lacks, up to syncBytes, and reports whether there are
// more. It writes records in flight to p only if whole is set, and in deltas sections: p then forwards
// them down the tree, as it would have forwarded the push that now brings it nothing new.
func (s *syncs) writeState(now time.Time, w *frameWriter, p *peer, theirs *clock.CausalContext, whole bool) (more bool, records int) {
	for a, both := range stored(s.store, theirs) {
		write := func(kind, first, last uint64) {
			both.Theirs.Missing(last, func(lack clock.Range) bool {
				for _, have := range intersect(both.Mine, max(lack.First, first), lack.Last) {
					if len(w.body) >= syncBytes {
						more = true
						return false
					}
					rest, n := s.fill(w, kind, a, have, syncBytes)
					records += n
					more = more || rest != 0
				}
				return !more
			})
		}
		landed := s.landed(now, p, a, both)
		write(secState, 1, landed)
		if head := both.Mine.Head(); whole && !more && landed < head {
			write(secDeltas, landed+1, head)
		}
		if more {
			break
		}
	}
	return more, records
}

// stored ranges, in order, over the actors of which s may have records, with what s and theirs have
// seen of each.
func stored(s *crdt.Store, theirs *clock.CausalContext) iter.Seq2[clock.Actor, clock.Both] {
	return func(yield func(clock.Actor, clock.Both) bool) {
		nothing := new(clock.Span)
		actors := append(s.Writers(), s.Context().Listed()...)
		slices.SortFunc(actors, clock.Actor.Compare)
		for _, a := range slices.Compact(actors) {
			both := clock.Both{Mine: s.Context().Span(a), Theirs: theirs.Span(a)}
			if both.Theirs == nil {
				both.Theirs = nothing
			}
			if both.Mine != nil && !yield(a, both) {
				return
			}
		}
	}
}

// landed returns the number up to which a's dots are not in flight to p, by a push from here or down
// the tree. In a tree, p does not forward dots that a sync brought before the push.
func (s *syncs) landed(now time.Time, p *peer, a clock.Actor, both clock.Both) uint64 {
	head := both.Mine.Head()
	if m, ok := s.flights[a]; ok && !p.behind && m.landed < head && (len(s.living) > s.cfg.Direct || s.pushesTo(a, p)) && now.Sub(p.joined) > 2*flightInterval {
		return max(m.landed, both.Theirs.Base)
	}
	return head
}

// remaining returns about how many live records are above a context.
func (s *syncs) remaining(theirs *clock.CausalContext) int {
	n := 0
	for a, both := range stored(s.store, theirs) {
		if base := both.Theirs.Base; base < both.Mine.Head() {
			n += s.store.LiveAbove(a, base)
		}
	}
	return n
}

// syncReply receives the end of an answer, after its records were merged. If it was the last answer,
// this peer now has every live record of p, and may adopt p's context.
func (in *incoming) syncReply(r *wire.Reader, n int) {
	e, p := in.e, in.from
	request, more, have, total, stamp := r.Uint(), r.Bool(), r.Uint(), r.Uint(), clock.Timestamp(r.Uint())
	var seen *clock.CausalContext
	if n > 5 {
		seen, _ = clock.ReadContext(r) // the actors in which p's context differs from the request
	}
	if r.Err() != nil || p == nil {
		return
	}
	p.unanswered = 0
	p.have, p.total = int(min(have, 1<<40)), int(min(total, 1<<40))
	e.observe(in.now, stamp)
	if request <= p.lastFollowed || request > p.lastRequest {
		return
	}
	took := in.now.Sub(p.firstRequestAt)
	if request == p.lastRequest && !p.requestedAt.IsZero() {
		took = in.now.Sub(p.requestedAt)
	}
	p.minTimeout = min(2*took, maxAskTimeout)
	p.lastFollowed, p.repeats, p.firstRequestAt = p.lastRequest, 0, in.now
	p.quarantined = p.quarantined || in.quarantined
	if more {
		if p.covered == nil {
			p.covered = e.store.Context().Clone()
		}
		for _, t := range in.covered {
			p.covered.AddRange(t.Actor, t.First, t.Last)
			p.coveredUpTo = t.Actor
		}
		if seen != nil && !p.noteContextPart(seen) {
			p.endSync()
			p.pause(in.now, false)
			return
		}
		e.sendSyncRequest(in.now, p)
		return
	}
	gained := p.gained
	p.endSync()
	p.minTimeout = 0 // the next answer may be small, and must not wait as long if its request is lost
	e.synced, p.syncedOnce = true, p.syncedOnce || !p.quarantined
	if p.quarantined { // every sync brings the quarantined records again until their time has come
		p.notBefore = in.now.Add(quarantineRetry)
		return
	}
	if seen == nil {
		p.pause(in.now, gained)
		return
	}
	seen = p.requestContext.Replaced(seen)
	if s := seen.Span(e.cfg.Self); s != nil && s.Head() > e.store.Last() {
		e.cloned = true
		return
	}
	adopted := e.holdOrAdopt(in.now, p, seen)
	p.pause(in.now, gained || adopted)
}

// setSynced records that p and this peer hold the same state.
func (s *syncs) setSynced(p *peer) {
	s.synced, p.syncedOnce = true, true
	p.behind, p.absent = false, nil
	p.endSync()
	p.minTimeout, p.pauseTime = 0, 0
}
