package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// gapsHoldFor is the time for which the gaps of a quiescent actor hold up stability, once all counted
// peers have seen the same dots of it. No message is on its way for so long.
const gapsHoldFor = 5 * time.Minute

// stability computes which dots all counted peers have seen. Records that only explain how such dots
// came to be overwritten or removed may then be forgotten.
type stability struct {
	*shared
	*acks
	*repairs
	synced    bool                      // this peer has completed a sync since it started
	sameSince map[clock.Actor]time.Time // quiescent actors of which all counted peers have seen the same dots, and since when
}

// Stable returns sequence numbers up to which the dots of actors are stable: every counted peer has
// acknowledged them, and this peer has seen everything that those peers had seen by then. The result
// holds the actors that are not retired, and those for which the store has something to
// forget (crdt.Store.Awaited).
//
// All listed peers count, up or down, except a peer that is down while a later actor with its name is
// up. The result is empty while a counted peer counts other members, by its last digest: that peer may
// know of a member that is cut off from this one. It is empty, too, until this peer has completed a
// sync.
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

// Settled returns a time, in Unix milliseconds, that the clock of every counted peer has shown, and up
// to which this peer has seen everything that those peers wrote. It is 0 while nothing is stable.
func (s *stability) Settled(now time.Time) uint64 {
	c, ok := s.countedPeers()
	if !ok {
		return 0
	}
	least := uint64(max(now.UnixMilli(), 0))
	for _, p := range c.peers {
		least = min(least, p.ackedTime)
	}
	return least
}

// countedPeers are the peers that count for stability.
type countedPeers struct {
	of    *stability
	peers []*peer
}

// countedPeers returns the peers that count. ok is false while nothing is stable.
func (s *stability) countedPeers() (c countedPeers, ok bool) {
	c.of = s
	for _, p := range s.peers {
		if p.acked == nil || p.membersHash != s.membersHash { // by its last digest, also if it is down
			return c, false
		}
		c.peers = append(c.peers, p)
	}
	return c, s.synced
}

// upTo returns the number up to which this peer and all counted peers have seen a's dots.
//
// An actor that crashed may leave gaps: dots that reached no peer. They hold up the removals above them
// only while some peer may still have them. Once all counted peers have seen the same dots of
// a quiescent actor for gapsHoldFor, all its dots are stable, and upTo returns clock.MaxSeq
// (docs/decisions/0032). The gaps stay in the context, so a missing record that turns up
// after all is still merged.
func (c countedPeers) upTo(now time.Time, a clock.Actor) uint64 {
	seen := spanOf(c.of.store.Context(), a)
	if c.sameSeen(a, seen) {
		since, noted := c.of.sameSince[a]
		switch {
		case noted && now.Sub(since) >= gapsHoldFor:
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

// spanOf returns the dots of a in c. The result must not be changed.
func spanOf(c *clock.CausalContext, a clock.Actor) *clock.Span {
	if s := c.Span(a); s != nil {
		return s
	}
	return &clock.Span{}
}

// sameSeen reports whether a is quiescent, and all counted peers have seen exactly the dots of it that
// seen contains.
func (c countedPeers) sameSeen(a clock.Actor, seen *clock.Span) bool {
	return c.of.quiescent(a) && !slices.ContainsFunc(c.peers, func(p *peer) bool { return !spanOf(p.acked, a).Equal(seen) })
}

// sameSince returns stability.sameSince anew, for the actors for which the store has something to forget.
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

// Retire retires the quiescent actors in the context and updates since when their dots are the same everywhere. The
// owner calls it every few seconds. Retiring changes only how the context stores an
// actor: one that writes again is listed again with its first write.
func (s *stability) Retire(now time.Time) {
	for a, g := range s.gaps { // each gap by itself, so the order does not matter
		if p := s.byActor[a]; g.fruitless > hopelessAfter && (p == nil || !p.Alive) {
			s.closeGap(a) // if a peer has the dots after all, a sync brings them
		}
	}
	if s.store.Retire(s.quiescent) > 0 {
		s.snap = nil // a new copy shares the memory of the retired actors
	}
	if c, ok := s.countedPeers(); ok {
		s.sameSince = c.sameSince(now)
	}
}

// quiescent reports whether nothing new of a is expected: it is not up, none of its dots are in flight,
// and no gap of it is being requested.
func (s *stability) quiescent(a clock.Actor) bool {
	if p := s.byActor[a]; a == s.cfg.Self || p != nil && p.Alive {
		return false
	}
	_, inFlight := s.flights[a]
	return !inFlight && s.gaps[a] == nil
}
