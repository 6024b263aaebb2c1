package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// holesStand is for how long all must have seen the very same of a life that has ended, holes
// included, until nothing counts as missing of it. No message is under way for so long.
const holesStand = 5 * time.Minute

// Stable returns, for each actor that is not retired or of whom something is to be
// forgotten, up to where every known peer has acknowledged
// its dots while this peer has seen all that they had. Dead peers count until they
// are forgotten, unless another life of the same name is up. Nothing is stable while
// somebody knows of other members: one that is cut off may not be known here yet, nor
// for a peer that has not found anybody.
func (e *Engine) Stable(now time.Time) clock.Vector {
	v := make(clock.Vector)
	c, ok := e.assent()
	if !ok {
		return v
	}
	for _, actors := range [][]clock.Actor{e.store.Context().Listed(), e.store.Awaited()} {
		for _, a := range actors {
			if _, done := v[a]; !done {
				v[a] = c.upTo(now, a)
			}
		}
	}
	return v
}

// assent is what those have acknowledged who count for stability.
type assent struct {
	e     *Engine
	peers []*peer
}

// assent fails where nothing is stable.
func (e *Engine) assent() (c assent, ok bool) {
	c.e = e
	for _, p := range e.peers {
		switch {
		case e.replaced(p):
			continue
		case p.acked == nil || p.Alive && p.members != e.membersHash:
			return c, false
		}
		c.peers = append(c.peers, p)
	}
	return c, e.synced
}

// upTo returns up to where this peer and the others have seen all of a's dots.
//
// A life that crashed may leave holes, dots that reached nobody. They hold up what is above
// them while somebody may have them, and no longer: see docs/decisions/0031. They stay
// holes, so that what somebody has after all is taken.
func (c assent) upTo(now time.Time, a clock.Actor) uint64 {
	seen := c.e.store.Context().Span(a)
	if seen == nil {
		return 0
	}
	if since, holes := c.e.holes[a]; c.alike(a, seen) && (len(seen.Ranges) == 0 || holes && now.Sub(since) >= holesStand) {
		return seen.Head()
	}
	least := seen.Base
	for _, p := range c.peers {
		s := p.acked.Span(a)
		if s == nil {
			return 0
		}
		least = min(least, s.Base)
	}
	return least
}

// alike reports whether a rests, and the others have seen the very same of it.
func (c assent) alike(a clock.Actor, seen *clock.Span) bool {
	return c.e.rests(a) && !slices.ContainsFunc(c.peers, func(p *peer) bool {
		s := p.acked.Span(a)
		return s == nil || !s.Equal(seen)
	})
}

// holes returns since when all have seen the same of actors that left holes.
func (c assent) holes(now time.Time) map[clock.Actor]time.Time {
	all := make(map[clock.Actor]time.Time)
	for _, a := range c.e.store.Awaited() {
		seen := c.e.store.Context().Span(a)
		if seen == nil || len(seen.Ranges) == 0 || !c.alike(a, seen) {
			continue
		}
		since, ok := c.e.holes[a]
		if !ok {
			since = now
		}
		all[a] = since
	}
	return all
}
