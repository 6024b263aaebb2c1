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
// somebody knows of other members, or did when it was last heard: one that is cut off may
// not be known here yet. Nor is anything for a peer that has not found anybody.
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
		case p.acked == nil || p.members != e.membersHash: // as it said last, if it is down
			return c, false
		}
		c.peers = append(c.peers, p)
	}
	return c, e.synced
}

// upTo returns up to where this peer and the others have seen all of a's dots.
//
// A life that crashed may leave holes, dots that reached nobody, and others that only what
// overwrote them tells of. They hold up removals while somebody may have them, and no
// longer: then nothing more is to come of a, and all of it is stable (docs/decisions/0032).
// They stay holes, so that what somebody has after all is taken.
func (c assent) upTo(now time.Time, a clock.Actor) uint64 {
	seen := spanOf(c.e.store.Context(), a)
	if c.alike(a, seen) {
		since, noted := c.e.holes[a]
		switch {
		case noted && now.Sub(since) >= holesStand:
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
func (c assent) alike(a clock.Actor, seen *clock.Span) bool {
	return c.e.rests(a) && !slices.ContainsFunc(c.peers, func(p *peer) bool { return !spanOf(p.acked, a).Equal(seen) })
}

// holes returns since when all have seen the same of actors of whom something is awaited.
func (c assent) holes(now time.Time) map[clock.Actor]time.Time {
	all := make(map[clock.Actor]time.Time)
	for _, a := range c.e.store.Awaited() {
		if !c.alike(a, spanOf(c.e.store.Context(), a)) {
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
