package gossip

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// A sync ends with the context of the other peer. If this peer adopts it, it ignores every later record
// for a dot in it. A context that names dots which were never written would therefore suppress the
// writes that get these dots later. So this peer believes nobody alone about how much a
// third peer has written (docs/decisions/0029).
//
// A context is adopted whole or not at all: of two gone records in it, one may have removed the other.
// A context that is not confirmed yet is held, and another peer is asked. Mostly the dots in
// question are in flight, and confirm themselves.

const (
	holdFirst      = 10 * time.Millisecond // time until a held context is looked at again; four times as long after each look
	holdTries      = 4                     // looks at a held context; after them, only further syncs look at it
	believeAfter   = 10 * time.Minute      // time after which a claim about an actor that is out of sight is believed
	membershipLag  = 15 * time.Second      // time after which membership has told this peer of every member that others know
	silentAfter    = 30 * time.Second      // time without an answer after which a peer that is up counts as out of sight
	silentRequests = 8                     // least number of sync-requests within that time
)

// witnesses decide when a context that a peer sent is confirmed by others and may be adopted.
type witnesses struct {
	*shared
	*syncs
}

// peerContext is the state that witnesses keep for each peer.
type peerContext struct {
	ownHead    uint64                    // highest number of its own writes that the peer has named
	held       *clock.CausalContext      // context at the end of the last sync with the peer, not adopted yet; nil if there is none
	heldAt     time.Time                 // when it is looked at again; zero for never
	heldTries  int                       // looks at it so far
	nonMembers map[clock.Actor]time.Time // actors in it that are no members, and since when the peer names them
}

// noteOwnHead records seq if the sender of the frame names its own write.
func (in *incoming) noteOwnHead(a clock.Actor, seq uint64) {
	if in.from != nil && in.from.Actor == a {
		in.from.ownHead = max(in.from.ownHead, seq)
	}
}

// holdOrAdopt takes p's context seen, of which this peer has every live record. It adopts it now or holds
// it. The context may also confirm contexts of other peers, which are then adopted. It
// reports whether this peer's context has grown.
func (w *witnesses) holdOrAdopt(now time.Time, p *peer, seen *clock.CausalContext) bool {
	p.held, p.heldTries = seen, 0
	w.claim(p, seen, p.requestWall)
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

// heldUntil schedules the next look at p's held context.
func (w *witnesses) heldUntil(now time.Time, p *peer) {
	p.heldAt = now.Add(holdFirst << (2 * p.heldTries))
	w.schedule(p, p.heldAt)
}

// retryHeld looks again at the held contexts that are due, and after the first look asks another peer.
func (w *witnesses) retryHeld(now time.Time) {
	for _, p := range w.scheduled {
		if !due(p.heldAt, now) {
			continue
		}
		p.heldAt = time.Time{}
		if p.held == nil {
			continue
		}
		if unconfirmed, ok := w.tryAdopt(now, p); !ok {
			if p.heldTries++; p.heldTries < holdTries {
				w.heldUntil(now, p)
			}
			if p.heldTries == 1 {
				w.askWitness(now, p, unconfirmed)
			}
		}
	}
}

// tryAdopt adopts p's held context if it is confirmed for every actor. Otherwise it returns false and
// the first actor for which it is not.
func (w *witnesses) tryAdopt(now time.Time, p *peer) (unconfirmed clock.Actor, ok bool) {
	others := slices.DeleteFunc(slices.Clone(w.living), func(q *peer) bool { return q.silent(now) })
	alone := !slices.ContainsFunc(others, func(q *peer) bool { return q != p })
	agreed := !slices.ContainsFunc(others, func(q *peer) bool { return q.membersHash != w.membersHash })
	maps.DeleteFunc(p.nonMembers, func(a clock.Actor, _ time.Time) bool { return p.held.Span(a) == nil })
	grows, ok := false, true
	for a, both := range w.store.Context().Against(p.held) {
		if both.Mine.Covers(both.Theirs) {
			continue
		}
		grows = true
		head := both.Theirs.Head()
		if both.Mine.Head() < head && !alone && a != p.Actor && !w.witnessed(p, a, head) && !w.ended(now, p, a, agreed) && ok {
			unconfirmed, ok = a, false
		}
	}
	if !ok {
		return unconfirmed, false
	}
	if grows {
		w.store.Adopt(p.held)
		p.nonMembers = nil
	}
	p.held = nil
	return clock.Actor{}, true
}

// witnessed reports whether another peer than p confirms that a has written seq, which this peer has not
// seen: a itself has named it, or a peer that is up claims to have seen it. Claimed contexts are enough,
// since this peer has seen all of every acknowledged one.
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

// ended reports whether a writes nothing more, so that a false claim of p about it suppresses no write: a has
// been out of sight for believeAfter while p was not, or no peer counts it as a member, for instance because
// a later actor has its name. agreed says that all peers count the same members.
func (w *witnesses) ended(now time.Time, p *peer, a clock.Actor, agreed bool) bool {
	switch q := w.byActor[a]; {
	case q == nil:
		named := now.Sub(p.namedSince(now, a))
		return agreed && named >= membershipLag || named >= believeAfter
	case q.Alive:
		return q.silent(now) && now.Sub(later(q.unansweredSince, p.joined)) >= believeAfter
	default:
		return now.Sub(later(q.downAt, p.joined)) >= believeAfter
	}
}

// silent reports whether p has not answered for long, although it may be up: frames do not pass between
// it and this peer, or its actor is no longer in use.
func (p *peer) silent(now time.Time) bool {
	return p.unanswered >= silentRequests && now.Sub(p.unansweredSince) >= silentAfter
}

// namedSince returns since when p's contexts name a, which is no member.
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

// askWitness requests a sync with a, about which p's claim is not confirmed, or, if a does not answer, with a
// random peer other than p.
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
