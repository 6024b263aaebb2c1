package gossip

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// A sync ends with what the peer asked has seen, and that removes: of a dot that it has
// seen and has no record of, this peer will take none. So nobody's word alone says how
// much somebody else has written (docs/decisions/0029).
//
// A context is taken over whole or not at all: of two dots that are gone, one may have
// removed the other. One that nobody bears out yet is held, for what it tells is mostly
// on its way, and somebody else is asked.

const (
	holdFirst      = 10 * time.Millisecond // until a context that is held is looked at again
	holdTries      = 4                     // times, each four times as long; then the next sync tells
	believeAfter   = 10 * time.Minute      // after which who is out of sight has written its last, if who says so is not
	membershipLag  = 15 * time.Second      // after which this peer has heard of a member of whom others have
	silentAfter    = 30 * time.Second      // for which a peer that is up does not answer: it is out of sight
	silentRequests = 8                     // requests to sync, at least, in that time
)

// witnesses bear out what a peer says that others have written.
type witnesses struct {
	*shared
	*syncs
}

// peerContext is what is kept of a peer until others bear out what it has told.
type peerContext struct {
	ownHead    uint64               // how many writes of its own it has spoken of
	held       *clock.CausalContext // what it told in the end of its last sync, not taken over yet
	heldAt     time.Time            // when that is looked at again
	heldTries  int
	nonMembers map[clock.Actor]time.Time // of whom that tells, who are no members: since when it does
}

// says notes how many writes of its own the sender of the frame speaks of.
func (in *incoming) noteOwnHead(a clock.Actor, seq uint64) {
	if in.from != nil && in.from.Actor == a {
		in.from.ownHead = max(in.from.ownHead, seq)
	}
}

// weigh takes over what p has seen, of which this peer has every live record, as soon as it
// is borne out. What it tells may bear out what others have told. It reports whether
// anything was taken over.
func (w *witnesses) holdOrAdopt(now time.Time, p *peer, seen *clock.CausalContext) bool {
	p.held, p.heldTries = seen, 0
	w.claim(p, seen)
	before := w.store.ContextAdditions()
	w.tryAdopt(now, p)
	for _, q := range w.peers {
		if q != p && q.held != nil {
			w.tryAdopt(now, q)
		}
	}
	if p.held != nil {
		w.stats.ContextsHeld++
		w.heldUntil(now, p)
	}
	return w.store.ContextAdditions() != before
}

func (w *witnesses) heldUntil(now time.Time, p *peer) {
	p.heldAt = now.Add(holdFirst << (2 * p.heldTries))
	w.schedule(p, p.heldAt)
}

// retryHeld looks again at contexts that were held.
func (w *witnesses) retryHeld(now time.Time) {
	for _, p := range w.scheduled {
		if !due(p.heldAt, now) {
			continue
		}
		p.heldAt = time.Time{}
		if p.held == nil {
			continue
		}
		if doubted, ok := w.tryAdopt(now, p); !ok {
			if p.heldTries++; p.heldTries < holdTries {
				w.heldUntil(now, p)
			}
			if p.heldTries == 1 {
				w.askWitness(now, p, doubted)
			}
		}
	}
}

// adopt takes over the context that p has told if others bear it out, else it returns an
// actor of whom they do not.
func (w *witnesses) tryAdopt(now time.Time, p *peer) (doubted clock.Actor, ok bool) {
	others := slices.DeleteFunc(slices.Clone(w.living), func(q *peer) bool { return q.silent(now) })
	alone := !slices.ContainsFunc(others, func(q *peer) bool { return q != p })
	agreed := !slices.ContainsFunc(others, func(q *peer) bool { return q.membersHash != w.membersHash })
	maps.DeleteFunc(p.nonMembers, func(a clock.Actor, _ time.Time) bool { return p.held.Span(a) == nil })
	news, ok := false, true
	for a, both := range w.store.Context().Against(p.held) {
		if both.Mine.Covers(both.Theirs) {
			continue
		}
		news = true
		head := both.Theirs.Head()
		if both.Mine.Head() < head && !alone && a != p.Actor && !w.witnessed(p, a, head) && !w.ended(now, p, a, agreed) && ok {
			doubted, ok = a, false
		}
	}
	if !ok {
		return doubted, false
	}
	if news {
		w.store.Adopt(p.held)
		p.nonMembers = nil
	}
	p.held = nil
	return clock.Actor{}, true
}

// witnessed reports whether others than p know that a has written seq: a itself has spoken
// of it, or a peer that is up has seen it.
func (w *witnesses) witnessed(p *peer, a clock.Actor, seq uint64) bool {
	if q := w.byActor[a]; q != nil && q.ownHead >= seq {
		return true
	}
	return slices.ContainsFunc(w.claimants, func(q *peer) bool {
		if q == p || q.claimed == nil || !q.Alive || w.byActor[q.Actor] != q {
			return false
		}
		s := q.claimed.Span(a)
		return s != nil && s.Head() >= seq
	})
}

// ended reports whether a writes no more, so that what p says of it takes nothing from
// anybody: another has its name, or it is long out of sight while p is not, or nobody
// counts it as a member.
func (w *witnesses) ended(now time.Time, p *peer, a clock.Actor, agreed bool) bool {
	switch q := w.byActor[a]; {
	case q == nil:
		spoken := now.Sub(p.namedSince(now, a))
		return agreed && spoken >= membershipLag || spoken >= believeAfter
	case q.Alive:
		return q.silent(now) && now.Sub(later(q.unansweredSince, p.joined)) >= believeAfter
	default:
		return w.replaced(q) || now.Sub(later(q.downAt, p.joined)) >= believeAfter
	}
}

// silent reports whether p is up and does not answer, however often it is asked: frames
// do not pass between it and this peer, or nobody writes as it any more.
func (p *peer) silent(now time.Time) bool {
	return p.unanswered >= silentRequests && now.Sub(p.unansweredSince) >= silentAfter
}

// spokeOf returns since when p speaks of a, which is no member.
func (p *peer) namedSince(now time.Time, a clock.Actor) time.Time {
	since, ok := p.nonMembers[a]
	if !ok {
		if p.nonMembers == nil {
			p.nonMembers = make(map[clock.Actor]time.Time)
		}
		since, p.nonMembers[a] = now, now
	}
	return since
}

// askWitness asks somebody else than p: the actor of whom p told what nobody bears out,
// or anybody.
func (w *witnesses) askWitness(now time.Time, p *peer, a clock.Actor) {
	if q := w.byActor[a]; q != nil && q.Alive && !q.silent(now) {
		w.requestSync(now, q)
		return
	}
	others := slices.DeleteFunc(slices.Clone(w.living), func(q *peer) bool { return q == p })
	if len(others) > 0 {
		w.requestSync(now, others[w.rng.IntN(len(others))])
	}
}
