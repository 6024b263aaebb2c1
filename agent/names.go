package agent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// maxNames bounds the actors whose names are kept: past lives wrote what still stands,
// but their number has no end. Beyond it the oldest are shown by their actor.
const maxNames = 4096

// nameMembers notes the names of the members, and gives up those of the oldest lives that
// are no members any more.
func (a *Agent) nameMembers(self clock.Actor) {
	names := maps.Clone(*a.names.Load())
	for _, k := range a.members {
		names[k.actor] = k.name
	}
	if over := len(names) - maxNames; over > 0 {
		past := maps.Clone(names)
		delete(past, self)
		for _, k := range a.members {
			delete(past, k.actor)
		}
		oldest := slices.SortedFunc(maps.Keys(past), func(x, y clock.Actor) int { return cmp.Compare(x.Birth, y.Birth) })
		for _, actor := range oldest[:min(over, len(oldest))] {
			delete(names, actor)
		}
	}
	a.names.Store(&names)
}

// renameSelf notes a new actor of this peer.
func (a *Agent) renameSelf() {
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		names := maps.Clone(*a.names.Load())
		names[r.Actor()] = a.cfg.Name
		a.names.Store(&names)
	})
}

// WriterName returns the display name of an actor, or the actor if it is unknown.
func (a *Agent) WriterName(actor clock.Actor) string {
	if name, ok := (*a.names.Load())[actor]; ok {
		return name
	}
	return actor.String()
}
