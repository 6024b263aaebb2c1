package gossip

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Each start of a peer is a new actor, so all but a few of those in a context have ended.
// They are retired: a request to sync gives a sum in place of them, and is understood
// by who has the same (docs/decisions/0030). Who has not answers with its own sums of
// parts, and those that differ are listed in the next request.

// mostRefined is how often the parts of a sync's requests are split, into 256 each time.
const mostRefined = 8

// Retire takes the actors out of contexts of whom nothing new is to come. It is no claim:
// who writes after all is back with the first write.
func (e *Engine) Retire() {
	for a, g := range e.gaps { // each for itself: no order
		if p := e.byActor[a]; g.vain > patientTries && (p == nil || !p.Alive) {
			e.closeGap(a) // what somebody has after all, a sync tells of
		}
	}
	if e.store.Retire(e.rests) > 0 {
		e.snap = nil // later copies share what is retired
	}
}

// rests reports whether nothing new is to come of a.
func (e *Engine) rests(a clock.Actor) bool {
	if p := e.byActor[a]; a == e.cfg.Self || p != nil && p.Alive {
		return false
	}
	_, moves := e.marks[a]
	return !moves && e.gaps[a] == nil
}

// known returns what this peer has seen, and was told in a sync with p that goes on, as it
// is now.
func (e *Engine) known(p *peer) *clock.CausalContext {
	if p.told == nil {
		return e.snapshot()
	}
	p.told.Join(e.store.Context())
	p.told.Retire(func(a clock.Actor) bool { return a != p.toldUpTo && e.rests(a) })
	return p.told.Clone()
}

// refine says where a request was not understood.
func (e *Engine) refine(now time.Time, p *peer, request uint64, theirs clock.Summary) {
	w := e.begin()
	w.section(secParts, 2)
	w.uint(request)
	w.body = clock.AppendParts(w.body, e.store.Context().Refine(theirs))
	e.send(now, p, Packet, e.finish(w, 0, false))
	e.stats.SyncsRefined++
}

// parts asks again, in smaller parts.
func (in *incoming) parts(r *wire.Reader) {
	e, p := in.e, in.from
	request, theirs := r.Uint(), clock.ReadParts(r)
	if r.Err() != nil || p == nil || request != p.request || p.asked.IsZero() {
		return
	}
	p.vain = 0
	if p.refined++; p.refined < mostRefined {
		p.parts = p.askedWith.Spell(theirs)
	} else {
		p.parts = []clock.Part{{UpTo: e.cfg.Self}} // all are listed
	}
	e.sendSyncRequest(in.now, p)
}
