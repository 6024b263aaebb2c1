package agent

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// admit settles what only the state here can tell, under the lock: an assignment that
// names no type keeps the one its key has, and a counter must be able to hold its sum.
// It leaves ops as they are and returns what to write.
func (a *Agent) admit(now time.Time, ops []crdt.Op) ([]crdt.Op, error) {
	given := ops
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Verb == crdt.Put && op.Kind == 0 && len(op.Path) == 0:
			kind := a.keptKind(now, op.Key)
			if kind == 0 {
				continue
			}
			if &ops[0] == &given[0] {
				ops = slices.Clone(given) // a batch may be tried again, on another state
			}
			ops[i].Kind = kind
		case op.Verb == crdt.Increment:
			if err := a.countable(now, op); err != nil {
				return nil, err
			}
		}
	}
	return ops, nil
}

// keptKind returns what a key is, if that is not what a Put makes it by itself.
func (a *Agent) keptKind(now time.Time, key string) crdt.Kind {
	e, ok := a.held(now, key)
	if !ok || e.Kind() == crdt.Register {
		return 0
	}
	if _, ruled := a.rules.Match(key); ruled {
		return 0
	}
	return e.Kind()
}

// countable refuses what would carry a counter, as this peer sees it, out of range.
func (a *Agent) countable(now time.Time, op *crdt.Op) error {
	var sum int64
	if e, ok := a.held(now, op.Key); ok && e.Kind() != crdt.Custom {
		v := e.Value()
		for _, name := range op.Path {
			v = v.Field(name)
		}
		if !v.IsZero() && v.Decode(&sum) != nil {
			return nil // no counter: the store says so
		}
	}
	const most = math.MaxInt64
	if op.Delta > 0 && sum > most-op.Delta || op.Delta < 0 && (op.Delta < -most || sum < -most-op.Delta) {
		return &wire.ValueError{Reason: fmt.Sprintf("%d on top of %d; a counter holds up to %d, and down to %d", op.Delta, sum, most, -most)}
	}
	return nil
}

// held returns what key holds now. The caller has the lock.
func (a *Agent) held(now time.Time, key string) (crdt.Entry, bool) {
	if e, ok, fresh := a.store.Load(key); fresh && (!ok || e.Expiry() == 0) {
		return e, ok
	}
	return a.store.Render(key, uint64(now.UnixMilli()))
}
