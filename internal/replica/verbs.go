package replica

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Window says how many more bytes of class Bulk the owner takes for the peer that writes as
// to. What does not fit waits here, where newer writes replace older ones.
func (r *Replica) Window(to clock.Actor, bytes int) { r.engine.Window(to, bytes) }

// Lost says that an envelope for the peer that writes as to was dropped: the two compare
// notes, once for all that is lost until then.
func (r *Replica) Lost(now time.Time, to clock.Actor) { r.engine.Lost(now, to) }

// Flush makes envelopes of everything that waits for a batch to fill, as far as windows
// allow.
func (r *Replica) Flush(now time.Time) { r.engine.Flush(now) }

// RequestAcks asks every peer to say when it has all of this peer's writes. Ready.Acked
// tells that one did.
func (r *Replica) RequestAcks(now time.Time) { r.engine.RequestAcks(now) }

// Host has a worker live as long as this peer does: its lease of ttl is renewed with every
// heartbeat until Release. Its errors are those of gossip.ValidateWorkerID, and
// gossip.ErrTooManyWorkers.
func (r *Replica) Host(now time.Time, worker string, ttl time.Duration) error {
	return r.engine.Host(now, worker, ttl)
}

// Beat has a worker live for ttl from now on, through this peer. It fails as Host does.
func (r *Replica) Beat(now time.Time, worker string, ttl time.Duration) error {
	return r.engine.Beat(now, worker, ttl)
}

// Release ends a worker's life here, and tells the others at once.
func (r *Replica) Release(now time.Time, worker string) { r.engine.Release(now, worker) }

// ReleaseAll ends the life of every worker that beats through this peer.
func (r *Replica) ReleaseAll(now time.Time) {
	for _, worker := range r.engine.Hosted(now) {
		r.engine.Release(now, worker)
	}
}
