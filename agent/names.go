package agent

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// maxNames bounds the number of actors whose names are kept. Keys that an earlier run wrote are shown
// with its peer's name, but the number of earlier runs is unbounded. Beyond the bound the oldest
// actors are shown by their text.
const maxNames = 4096

// nameMembers adds the names of the members. Beyond maxNames it drops the oldest actors that are not
// members any more.
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

// rename adds the name of self, a new actor of this peer.
func (r *roster) rename(self clock.Actor) {
	names := maps.Clone(*r.names.Load())
	names[self] = r.name
	r.names.Store(&names)
}

// WriterName returns the name of the peer that writes or wrote as actor, or the text of actor if the
// name is not known.
func (a *Agent) WriterName(actor clock.Actor) string {
	if name, ok := (*a.roster.names.Load())[actor]; ok {
		return name
	}
	return actor.String()
}
