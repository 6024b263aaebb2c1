package queue

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// maxStale bounds the keys that wait to be deleted; of more, what is written last stays.
const maxStale = 1 << 12

// litter is what is left of claims: keys that say nothing any more, and claims that
// lapsed here, of which nobody has said since that they are over.
type litter struct {
	stale  []string
	lapsed []*Claim
}

func (l *litter) collect(key string) {
	if len(l.stale) < maxStale {
		l.stale = append(l.stale, key)
	}
}

// Lapsed returns up to n claims that lapsed here, once each. Who knows by the voters that
// the lease of one is over calls Abandon; one that still lasts is returned by Doubt.
func (l *litter) Lapsed(n int) []*Claim {
	list := l.lapsed[:min(len(l.lapsed), n)]
	l.lapsed = slices.Clone(l.lapsed[len(list):])
	return list
}

// Doubt has Lapsed return a claim again.
func (l *litter) Doubt(c *Claim) {
	if len(l.lapsed) < maxStale {
		l.lapsed = append(l.lapsed, c)
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
