package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// holesStand is for how long all must have seen the very same of a life that has ended, holes
// included, until nothing counts as missing of it. No message is under way for so long.
const endedAfter = 5 * time.Minute

// stability is what all have seen, so that it can be forgotten how it came about.
type stability struct {
	*shared
	*acks
	*repairs
	synced    bool                      // with somebody, since this peer started
	sameSince map[clock.Actor]time.Time // since when all have seen the same of an actor that has ended
}

// Stable returns, for each actor that is not retired or of whom something is to be
// forgotten, up to where every known peer has acknowledged
// its dots while this peer has seen all that they had. Dead peers count until they
// are forgotten, unless another life of the same name is up. Nothing is stable while
// somebody knows of other members, or did when it was last heard: one that is cut off may
// not be known here yet. Nor is anything for a peer that has not found anybody.
func (s *stability) Stable(now time.Time) clock.Vector {
	v := make(clock.Vector)
	c, ok := s.countedPeers()
	if !ok {
		return v
	}
	for _, actors := range [][]clock.Actor{s.store.Context().Listed(), s.store.Awaited()} {
		for _, a := range actors {
			if _, done := v[a]; !done {
				v[a] = c.upTo(now, a)
			}
		}
	}
	return v
}

// assent is what those have acknowledged who count for stability.
type countedPeers struct {
	of    *stability
	peers []*peer
}

// assent fails where nothing is stable.
func (s *stability) countedPeers() (c countedPeers, ok bool) {
	c.of = s
	for _, p := range s.peers {
		switch {
		case s.replaced(p):
			continue
		case p.acked == nil || p.membersHash != s.membersHash: // as it said last, if it is down
			return c, false
		}
		c.peers = append(c.peers, p)
	}
	return c, s.synced
}

// upTo returns up to where this peer and the others have seen all of a's dots.
//
// A life that crashed may leave holes, dots that reached nobody, and others that only what
// overwrote them tells of. They hold up removals while somebody may have them, and no
// longer: then nothing more is to come of a, and all of it is stable (docs/decisions/0032).
// They stay holes, so that what somebody has after all is taken.
func (c countedPeers) upTo(now time.Time, a clock.Actor) uint64 {
	seen := spanOf(c.of.store.Context(), a)
	if c.sameSeen(a, seen) {
		since, noted := c.of.sameSince[a]
		switch {
		case noted && now.Sub(since) >= endedAfter:
			return clock.MaxSeq
		case len(seen.Ranges) == 0:
			return seen.Head()
		}
	}
	least := seen.Base
	for _, p := range c.peers {
		least = min(least, spanOf(p.acked, a).Base)
	}
	return least
}

// spanOf returns what c has seen of a, not to be changed.
func spanOf(c *clock.CausalContext, a clock.Actor) *clock.Span {
	if s := c.Span(a); s != nil {
		return s
	}
	return &clock.Span{}
}

// alike reports whether a rests, and the others have seen the very same of it.
func (c countedPeers) sameSeen(a clock.Actor, seen *clock.Span) bool {
	return c.of.quiescent(a) && !slices.ContainsFunc(c.peers, func(p *peer) bool { return !spanOf(p.acked, a).Equal(seen) })
}

// holes returns since when all have seen the same of actors of whom something is awaited.
func (c countedPeers) sameSince(now time.Time) map[clock.Actor]time.Time {
	all := make(map[clock.Actor]time.Time)
	for _, a := range c.of.store.Awaited() {
		if !c.sameSeen(a, spanOf(c.of.store.Context(), a)) {
			continue
		}
		since, ok := c.of.sameSince[a]
		if !ok {
			since = now
		}
		all[a] = since
	}
	return all
}

// Retire takes the actors out of contexts of whom nothing new is to come. It is no claim:
// who writes after all is back with the first write.
func (s *stability) Retire(now time.Time) {
	for a, g := range s.gaps { // each for itself: no order
		if p := s.byActor[a]; g.fruitless > hopelessAfter && (p == nil || !p.Alive) {
			s.closeGap(a) // what somebody has after all, a sync tells of
		}
	}
	if s.store.Retire(s.quiescent) > 0 {
		s.snap = nil // later copies share what is retired
	}
	if c, ok := s.countedPeers(); ok {
		s.sameSince = c.sameSince(now)
	}
}

// rests reports whether nothing new is to come of a.
func (s *stability) quiescent(a clock.Actor) bool {
	if p := s.byActor[a]; a == s.cfg.Self || p != nil && p.Alive {
		return false
	}
	_, moves := s.flights[a]
	return !moves && s.gaps[a] == nil
}
