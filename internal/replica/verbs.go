package replica

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Window says how many more bytes of class Bulk the owner takes for the peer that writes as
// to. What does not fit waits here, where newer writes replace older ones.
func (r *Replica) Window(to clock.Actor, bytes int) { r.engine.Window(to, bytes) }

// Lost says that an envelope for the peer that writes as to was dropped. It starts one sync with that
// peer, which repairs everything that was lost until then.
func (r *Replica) Lost(now time.Time, to clock.Actor) { r.engine.Lost(now, to) }

// Flush sends at once what waits for the batch interval, as far as windows allow.
func (r *Replica) Flush(now time.Time) { r.engine.Flush(now) }

// RequestAcks asks every peer to acknowledge when it has all of this peer's writes. Ready.Acked says
// that an acknowledgement has arrived.
func (r *Replica) RequestAcks(now time.Time) { r.engine.RequestAcks(now) }

// Host keeps a worker alive as long as this peer runs: every heartbeat renews its lease of ttl until
// Release. Errors are those of gossip.ValidateWorkerID and gossip.ErrTooManyWorkers.
func (r *Replica) Host(now time.Time, worker string, ttl time.Duration) error {
	return r.engine.Host(now, worker, ttl)
}

// Beat keeps a worker alive through this peer for ttl from now on. Errors are those of Host.
func (r *Replica) Beat(now time.Time, worker string, ttl time.Duration) error {
	return r.engine.Beat(now, worker, ttl)
}

// Release ends the lease of a worker at this peer and tells the other peers at once.
func (r *Replica) Release(now time.Time, worker string) { r.engine.Release(now, worker) }

// ReleaseAll releases every worker that is kept alive through this peer, and ends all that
// the peer sustains.
func (r *Replica) ReleaseAll(now time.Time) {
	clear(r.sustains)
	for _, worker := range r.engine.Hosted(now) {
		r.engine.Release(now, worker)
	}
}
