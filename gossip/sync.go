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
	syncBytes     = 512 << 10              // of one answer
	minAskTimeout = 500 * time.Millisecond // for one, at least
	maxAskTimeout = 2 * time.Minute        // and at most
	answerAgain   = time.Second            // to a repeated request, at first
	maxRequests   = 2                      // before another peer is tried
	maxSyncs      = 2                      // under way at once: each peer asked sends much the same
	minPause      = 50 * time.Millisecond  // after a sync that brought nothing, doubling with each
	maxPause      = time.Second            // and at most
)

// syncs fetch what a peer has and this one lacks, and answer those of others.
type syncs struct {
	*shared
	*stability
	*reconciling
}

// peerSync is what is kept of the syncs with a peer: of this peer's requests, and of its
// own.
type peerSync struct {
	requestedAt     time.Time     // the request that is not answered yet
	firstRequestAt  time.Time     // the first after the last answer
	minTimeout      time.Duration // twice what the last answer took
	lastRequest     uint64        // the number of the last request
	lastFollowed    uint64        // requests up to this one have been followed
	repeats         int
	unanswered      int                  // requests since the last answer
	unansweredSince time.Time            // when the first of those went
	covered         *clock.CausalContext // what the answers of a sync have covered, with what was seen
	coveredUpTo     clock.Actor          // of whom they may have told a part
	requestContext  *clock.CausalContext // what the latest request and its repeats say was seen
	parts           []clock.Part         // in which they say it, see retire.go
	refined         int                  // how often the parts were split
	quarantined     bool                 // some of what came was set aside for its time
	gained          bool                 // the answers have brought something
	notBefore       time.Time            // no sync before
	pauseTime       time.Duration        // for so long, because the last brought nothing
	syncedOnce      bool                 // all that the peer had, at some time of this life, is here
	have            int                  // progress of a sync from it
	total           int

	largeAnswered uint64        // its request that was answered at length last
	answerUntil   time.Time     // while that may be under way
	answerWait    time.Duration // before the next repeated one is answered
}

// askTimeout is how long an answer of p may take: twice what the last took, and longer
// each time that it was not long enough.
func (p *peer) askTimeout() time.Duration { return max(p.minTimeout, minAskTimeout) << p.repeats }

// requestSync sends this peer's context to p: tier 1. What p has above it comes
// back, in as many answers as it takes, each asked for with what has been told by
// then. So a sync survives loss and never outruns the receiver. Of a request and its
// repeats the first answer is followed by another request: under load each would start
// a sync of its own.
//
// A dot whose record is gone is told by the context in the last answer only, so until
// then this peer may not count it as seen (docs/decisions/0012). What the answers so
// far have covered is kept beside the context, for the requests of this one sync: else
// each would list every such hole, and those that a frame has no room for would be
// answered anew for ever.
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
	if p.covered != nil || p.quarantined { // of a sync that was given up: its answers say nothing to this one
		p.endSync()
		p.quarantined = false
	}
	if p.lastFollowed == p.lastRequest {
		p.firstRequestAt = now
	}
	if p.held != nil { // what it has told in vain it need not tell again
		p.covered = p.held.Clone()
	}
	s.sendSyncRequest(now, p)
}

// endSync ends a sync with p: what is still under way of it is merged, and not followed.
func (p *peer) endSync() {
	p.requestedAt, p.repeats, p.covered, p.gained = time.Time{}, 0, nil, false
	p.parts, p.refined = nil, 0
	p.lastFollowed = p.lastRequest
}

// pause has the next sync with p wait, if this one brought nothing: two peers that each
// lack what is on its way to them would ask in turn until it is there.
func (p *peer) pause(now time.Time, fresh bool) {
	p.pauseTime = min(max(2*p.pauseTime, minPause), maxPause)
	if fresh {
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

func (s *syncs) sendSyncRequest(now time.Time, p *peer) {
	p.requestedAt = now
	if p.lastFollowed == p.lastRequest {
		p.requestContext = s.contextFor(now, p)
	}
	p.lastRequest++
	if p.unanswered++; p.unanswered == 1 {
		p.unansweredSince = now
	}
	s.schedule(p, now.Add(p.askTimeout()))
	w := s.begin()
	w.section(secSyncRequest, 6)
	w.uint(p.lastRequest)
	w.bool(p.covered != nil)
	w.uint(s.store.Sum())
	known := p.requestContext.Summary(p.parts)
	w.body = bounded(known.Listed).AppendTo(w.body)
	w.uint(p.lastFollowed)
	w.body = clock.AppendParts(w.body, known.Parts)
	s.send(now, p, Packet, s.finish(w, 0, false))
	s.stats.SyncRequests++
}

// bounded is c with no more ranges than a frame may hold. Leaving some out only makes
// the answer repeat them.
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

// retrySyncs asks again where no answer came, and then somebody else.
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

// syncRequest answers with the live records above the other's context; if that is
// partly what it was told in this sync, it is no acknowledgement.
func (in *incoming) syncRequest(r *wire.Reader) {
	e, p := in.e, in.from
	request, told, sum := r.Uint(), r.Bool(), r.Uint()
	listed, err := clock.ReadContext(r)
	heard, parts := r.Uint(), clock.ReadParts(r)
	if err != nil || r.Err() != nil || p == nil {
		return
	}
	mine := e.store.Context()
	theirs, ok := mine.Resolve(clock.Summary{Listed: listed, Parts: parts})
	if !ok {
		e.refine(in.now, p, request, clock.Summary{Listed: listed, Parts: parts})
		return
	}
	if !told {
		e.claim(p, theirs)
	}
	if s := theirs.Span(e.cfg.Self); s != nil && s.Head() > e.store.Last() {
		e.cloned = true
	}
	covered, covers := mine.Covers(theirs), theirs.Covers(mine)
	if heard >= p.largeAnswered {
		p.answerWait = 0
	}
	if heard >= p.largeAnswered || !in.now.Before(p.answerUntil) { // else its answer may be on a slow stream still
		e.answerSync(in.now, p, request, told, theirs)
	}
	switch {
	case !covered:
		e.requestSync(in.now, p)
	case told:
	case covers && sum != e.store.Sum():
		if p.mismatches++; p.mismatches >= 2 {
			e.sendSums(in.now, p)
		}
	case covers:
		p.mismatches = 0
		e.setSynced(p)
	}
}

// answerSync answers a request. What is large goes again only after a while to a peer
// that has not heard it, and later each time: else the same would wait for a slow stream
// over and over.
func (s *syncs) answerSync(now time.Time, p *peer, request uint64, told bool, theirs *clock.CausalContext) {
	w := s.begin()
	more, records := s.writeState(now, w, p, theirs, false)
	whole := !more && (told || s.hasUnpushedVoids(now, p, theirs))
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
		more = !all // a part, and the rest when it is asked for
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

// hides reports whether theirs lacks dots whose records are gone here, and that no
// push will tell: they can only be told with everything that came after them.
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

// writeState writes what theirs lacks, up to syncBytes. What is on its way to p already
// it writes only if the whole is wanted, and as news: in the tree p passes on what comes
// to it first, and that is this.
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
		settled := s.landed(now, p, a, both)
		write(secState, 1, settled)
		if head := both.Mine.Head(); whole && !more && settled < head {
			write(secDeltas, settled+1, head)
		}
		if more {
			break
		}
	}
	return more, records
}

// stored ranges over the actors of whom there may be records, and what this peer and another
// have seen of each.
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

// settled returns up to where a's dots are not on their way to p already, by a push
// from here or down the tree. In the tree a dot that came by a sync would not be passed on.
func (s *syncs) landed(now time.Time, p *peer, a clock.Actor, both clock.Both) uint64 {
	head := both.Mine.Head()
	if m, ok := s.flights[a]; ok && !p.behind && m.landed < head && (len(s.living) > s.cfg.Direct || s.pushesTo(a, p)) && now.Sub(p.joined) > 2*flightInterval {
		return max(m.landed, both.Theirs.Base)
	}
	return head
}

// remaining counts the live records above a context.
func (s *syncs) remaining(theirs *clock.CausalContext) int {
	n := 0
	for a, both := range stored(s.store, theirs) {
		if base := both.Theirs.Base; base < both.Mine.Head() {
			n += s.store.LiveAbove(a, base)
		}
	}
	return n
}

// syncReply ends an answer; its records have been merged. If it was the last, this
// peer now has all that lives there, and may take over what was seen there.
func (in *incoming) syncReply(r *wire.Reader, n int) {
	e, p := in.e, in.from
	request, more, have, total, stamp := r.Uint(), r.Bool(), r.Uint(), r.Uint(), clock.Timestamp(r.Uint())
	var seen *clock.CausalContext
	if n > 5 {
		seen, _ = clock.ReadContext(r) // but for what it has as this peer said
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
	fresh := p.gained
	p.endSync()
	p.minTimeout = 0 // what comes next may be small, and its request lost
	e.synced, p.syncedOnce = true, p.syncedOnce || !p.quarantined
	if p.quarantined { // its time will come; until then all of it would come again
		p.notBefore = in.now.Add(quarantineRetry)
		return
	}
	if seen == nil {
		p.pause(in.now, fresh)
		return
	}
	seen = p.requestContext.Replaced(seen)
	if s := seen.Span(e.cfg.Self); s != nil && s.Head() > e.store.Last() {
		e.cloned = true
		return
	}
	adopted := e.holdOrAdopt(in.now, p, seen)
	p.pause(in.now, fresh || adopted)
}

// setSynced notes that p and this peer have compared notes to the end.
func (s *syncs) setSynced(p *peer) {
	s.synced, p.syncedOnce = true, true
	p.behind, p.absent = false, nil
	p.endSync()
	p.minTimeout, p.pauseTime = 0, 0
}
