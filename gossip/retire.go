package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Each start of a peer makes a new actor, so almost all actors in an old context write nothing more.
// Quiescent actors are retired: a sync-request does not list them, and carries one hash over them. A receiver whose own
// retired actors have the same hash knows the whole context. Any other receiver answers
// with hashes over smaller ranges of actors, called parts, and the next request lists the
// actors of those parts that differ (docs/decisions/0030, clock.Summary).

const (
	maxRefined     = 8       // times that the parts of one sync's requests are split, into 256 each time
	maxSpelledPart = 1 << 10 // greatest number of retired actors in a differing part that is listed and not split
	maxSpelled     = 1 << 16 // the same, once the receiver cannot split the part further

	retireSoon       = 1 << 10 // listed actors that are not members, beyond which a request retires first: after reading a disk or a large sync
	maxContextActors = 1 << 14 // actors of the context in one sync-reply, about 400 KiB
	maxCoveredActors = 1 << 22 // actors that the replies of one sync may name
)

// contextFor returns the context for a request to p: what this peer has seen, and what the
// answers of the running sync with p have covered. The result is not changed later.
func (s *syncs) contextFor(now time.Time, p *peer) *clock.CausalContext {
	if len(s.store.Context().Listed()) > retireSoon+2*len(s.peers) {
		s.Retire(now)
	}
	if p.covered == nil {
		return s.snapshot()
	}
	p.covered.Join(s.store.Context())
	p.covered.Retire(func(a clock.Actor) bool { return a != p.coveredUpTo && s.quiescent(a) })
	return p.covered.Clone()
}

// refine answers a request whose hashes differ from this peer's with hashes over smaller parts.
func (s *syncs) refine(now time.Time, p *peer, request uint64, theirs clock.Summary) {
	w := s.begin()
	w.section(secParts, 2)
	w.uint(request)
	w.body = clock.AppendParts(w.body, s.store.Context().Refine(theirs))
	s.send(now, p, Packet, s.finish(w, 0, false))
	s.stats.SyncsRefined++
}

// parts receives the answer to a request that p did not understand, and repeats the request with smaller
// parts. If this peer has too many differing actors to list them, it ends the sync
// and sends a digest: then p requests the sync, whose context lists fewer.
func (in *incoming) parts(r *wire.Reader) {
	e, p := in.e, in.from
	request, theirs := r.Uint(), clock.ReadParts(r)
	if r.Err() != nil || p == nil || request != p.lastRequest || p.requestedAt.IsZero() {
		return
	}
	p.unanswered = 0
	most := maxSpelledPart
	if p.refined++; p.refined >= maxRefined || len(theirs) <= max(len(p.parts), 1) {
		most = maxSpelled
	}
	parts, named, left := p.requestContext.Spell(p.parts, theirs, most)
	if named > wire.MaxListed || left && most == maxSpelled {
		p.endSync()
		p.pause(in.now, false)
		e.sendDigest(in.now, p)
		return
	}
	p.parts = parts
	e.sendSyncRequest(in.now, p)
}

// noteContextPart records a part of p's context: p and this peer now agree on all actors up to the last
// one in it. It returns false if the part brings nothing new or there are too many, which ends the sync.
func (p *peer) noteContextPart(part *clock.CausalContext) bool {
	listed := part.Listed()
	if len(listed) == 0 || p.covered.Covers(part) || p.covered.Len() > maxCoveredActors {
		return false
	}
	p.covered.Join(part)
	if upTo := listed[len(listed)-1]; len(p.parts) > 0 {
		rest := slices.DeleteFunc(p.parts, func(c clock.Part) bool { return c.UpTo.Compare(upTo) <= 0 })
		p.parts, p.refined = append([]clock.Part{{UpTo: upTo, Sum: clock.Summed}}, rest...), 0
	}
	return true
}
