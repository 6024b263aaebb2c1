package queue

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// maxStale bounds the keys that wait to be deleted. More keys are not noted, and stay until they
// expire.
const maxStale = 1 << 12

// litter collects keys that no longer decide anything.
type litter struct{ stale []string }

func (l *litter) collect(key string) {
	if len(l.stale) < maxStale {
		l.stale = append(l.stale, key)
	}
}

// Stale returns up to n writes that delete keys which no longer decide anything. The caller need not
// carry them out: keys of claims expire.
func (l *litter) Stale(n int) []crdt.Op {
	keys := l.stale[:min(len(l.stale), n)]
	l.stale = slices.Clone(l.stale[len(keys):])
	ops := make([]crdt.Op, len(keys))
	for i, key := range keys {
		ops[i] = crdt.Op{Verb: crdt.Delete, Key: key}
	}
	return ops
}
