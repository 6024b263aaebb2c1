package replica

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// View reads what a replica knows of the other peers and of the workers beside them.
// Reading changes nothing. Like all calls, its calls are serialised by the owner.
type View struct{ engine *gossip.Engine }

// View returns a reader of r.
func (r *Replica) View() View { return View{r.engine} }

// Stats returns the counters so far. Its maps belong to the caller.
func (v View) Stats() gossip.Stats { return v.engine.Stats() }

// Pending returns how many deltas wait for peers, and how many bytes.
func (v View) Pending() (deltas, bytes int) { return v.engine.Pending() }

// StateHash returns a hash of the state, which is equal on peers that have the same.
func (v View) StateHash() uint64 { return v.engine.StateHash() }

// Peers returns the status of all peers, by actor.
func (v View) Peers() []gossip.PeerStatus { return v.engine.Peers() }

// Living returns the names of the peers that are up.
func (v View) Living() []string { return v.engine.Living() }

// Blocking returns the names of the peers that are down and keep removals from being
// forgotten.
func (v View) Blocking() []string { return v.engine.Blocking() }

// Stable returns, for each actor, the sequence number up to which every known peer has acknowledged
// all its dots at now.
func (v View) Stable(now time.Time) clock.Vector { return v.engine.Stable(now) }

// Synced reports whether an exchange with another peer has been completed since the start.
func (v View) Synced() bool { return v.engine.Synced() }

// SyncedWith returns the names of the peers with which an exchange has been completed.
func (v View) SyncedWith() []string { return v.engine.SyncedWith() }

// AckedBy returns the names of the peers that are up and have acknowledged this peer's
// write seq and all before it.
func (v View) AckedBy(seq uint64) []string { return v.engine.AckedBy(seq) }

// Replicas returns how many other peers have acknowledged this peer's write seq and all before it,
// and the names of the peers that are up and have not.
func (v View) Replicas(seq uint64) (n int, missing []string) { return v.engine.Replicas(seq) }

// Heartbeat returns what is known of one worker at now; ok is false if the worker is unknown or gone.
func (v View) Heartbeat(now time.Time, worker string) (h gossip.Heartbeat, ok bool) {
	return v.engine.Heartbeat(now, worker)
}

// Heartbeats returns the workers that are active or unreachable at now, by name.
func (v View) Heartbeats(now time.Time) []gossip.Heartbeat { return v.engine.Heartbeats(now) }
