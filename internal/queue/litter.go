package queue

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// maxStale bounds the keys that wait to be deleted; of more, what is written last stays.
const maxStale = 1 << 12

// litter is keys that say nothing any more.
type litter struct{ stale []string }

func (l *litter) collect(key string) {
	if len(l.stale) < maxStale {
		l.stale = append(l.stale, key)
	}
}

// Stale returns up to n removals of keys that say nothing any more. What is not removed
// expires.
func (l *litter) Stale(n int) []crdt.Op {
	keys := l.stale[:min(len(l.stale), n)]
	l.stale = slices.Clone(l.stale[len(keys):])
	ops := make([]crdt.Op, len(keys))
	for i, key := range keys {
		ops[i] = crdt.Op{Verb: crdt.Delete, Key: key}
	}
	return ops
}
