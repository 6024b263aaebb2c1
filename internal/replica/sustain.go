package replica

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// sustained is a record that is kept from expiring.
type sustained struct {
	worker string
	ttl    time.Duration
}

// Sustain keeps the record at key, which this peer has written of a worker, from expiring:
// it gets ttl anew when half of that is over, for as long as the worker beats through this
// peer and nobody else has written the key. A ttl of 0 or less ends that.
func (r *Replica) Sustain(now time.Time, key, worker string, ttl time.Duration) {
	if ttl <= 0 {
		delete(r.sustains, key)
		return
	}
	r.sustains[key] = sustained{worker, ttl}
	if at := now.Add(ttl / sustainLooks); r.sustainAt.IsZero() || at.Before(r.sustainAt) {
		r.sustainAt = at
	}
}

// sustainLooks is how often within its TTL a record is looked at.
const sustainLooks = 8

// sustain renews the records that are due.
func (r *Replica) sustain(now time.Time) {
	if r.sustainAt.IsZero() || now.Before(r.sustainAt) {
		return
	}
	r.sustainAt = time.Time{}
	for _, key := range slices.Sorted(maps.Keys(r.sustains)) {
		s := r.sustains[key]
		e, ok := r.store.Render(key, millis(now))
		h, _ := r.engine.Heartbeat(now, s.worker)
		if !ok || e.Dot().Actor != r.actor || h.Host != r.actor {
			delete(r.sustains, key) // the record is gone, another peer has written it, or another peer hosts the worker
			continue
		}
		r.Sustain(now, key, s.worker, s.ttl) // it is looked at again
		if time.UnixMilli(int64(e.Expiry())).Sub(now) > s.ttl/2 {
			continue
		}
		op := crdt.Op{Verb: crdt.Put, Key: key, Value: e.Value(), Expiry: millis(now.Add(s.ttl))}
		if _, err := r.Write(now, false, op); err != nil {
			r.faults = append(r.faults, fmt.Errorf("renew what a worker says of itself: %w", err))
		}
	}
}
