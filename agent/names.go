package agent

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// maxNames bounds the actors whose names are kept: past lives wrote what still stands,
// but their number has no end. Beyond it the oldest are shown by their actor.
const maxNames = 4096

// nameMembers notes the names of the members, and gives up those of the oldest lives that
// are no members any more.
func (r *roster) nameMembers(self clock.Actor) {
	names := maps.Clone(*r.names.Load())
	for _, k := range r.members {
		names[k.actor] = k.name
	}
	if over := len(names) - maxNames; over > 0 {
		past := maps.Clone(names)
		delete(past, self)
		for _, k := range r.members {
			delete(past, k.actor)
		}
		oldest := slices.SortedFunc(maps.Keys(past), func(x, y clock.Actor) int { return cmp.Compare(x.Birth, y.Birth) })
		for _, actor := range oldest[:min(over, len(oldest))] {
			delete(names, actor)
		}
	}
	r.names.Store(&names)
}

// rename notes a new actor of this peer.
func (r *roster) rename(self clock.Actor) {
	names := maps.Clone(*r.names.Load())
	names[self] = r.name
	r.names.Store(&names)
}

// WriterName returns the display name of an actor, or the actor if it is unknown.
func (a *Agent) WriterName(actor clock.Actor) string {
	if name, ok := (*a.roster.names.Load())[actor]; ok {
		return name
	}
	return actor.String()
}
