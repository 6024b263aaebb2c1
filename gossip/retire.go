package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Each start of a peer is a new actor, so all but a few of those in a context have ended.
// They are retired: a request to sync gives a sum in place of them, and is understood
// by who has the same (docs/decisions/0030). Who has not answers with its own sums of
// parts, and those that differ are listed in the next request.

const (
	maxRefined     = 8       // times that the parts of a sync's requests are split, into 256 each time
	maxSpelledPart = 1 << 10 // retired actors of a part that are listed where it differs
	maxSpelled     = 1 << 16 // and where the other cannot split it

	retireSoon       = 1 << 10 // listed beside members: a disk was read, or much was told at once
	maxContextActors = 1 << 14 // of an answer's part of a context, some 400 KiB
	maxCoveredActors = 1 << 22 // actors that one sync tells of
)

// known returns what this peer has seen, and was told in a sync with p that goes on, as it
// is now.
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

// refine says where a request was not understood.
func (s *syncs) refine(now time.Time, p *peer, request uint64, theirs clock.Summary) {
	w := s.begin()
	w.section(secParts, 2)
	w.uint(request)
	w.body = clock.AppendParts(w.body, s.store.Context().Refine(theirs))
	s.send(now, p, Packet, s.finish(w, 0, false))
	s.stats.SyncsRefined++
}

// parts asks again, in smaller parts. Where the other has few of the actors that differ, it
// is the one to ask.
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

// toldOf notes a part of the context of p: up to its last actor, that is known to both. It
// reports whether the sync is to go on.
func (p *peer) noteContextPart(part *clock.CausalContext) bool {
	listed := part.Listed()
	if len(listed) == 0 || p.covered.Covers(part) || p.covered.Len() > maxCoveredActors {
		return false
	}
	p.covered.Join(part)
	if upTo := listed[len(listed)-1]; len(p.parts) > 0 {
		rest := slices.DeleteFunc(p.parts, func(c clock.Part) bool { return c.UpTo.Compare(upTo) <= 0 })
		p.parts, p.refined = append([]clock.Part{{UpTo: upTo, Sum: 1}}, rest...), 0
	}
	return true
}
