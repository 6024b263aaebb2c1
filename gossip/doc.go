// Package gossip decides which peer is told what, and when: the spread of new
// deltas and the repair of everything that is lost on the way.
//
// An [Engine] shares a store with its owner. Local writes enter by Push, frames by
// Receive, time by Tick; what is to be sent leaves by Envelopes. It reads no clock
// and opens no socket.
//
//	push     a write waits for company, then goes straight to every peer (up to 8),
//	         or down a tree computed from its origin and the view
//	holes    a gap in an actor's numbering is asked for after 20 ms
//	heads    5 ms after a burst its receivers hear where it ended, and again until they
//	         say that they have it
//	tier 0   a digest against a random peer: equal hashes, nothing to do
//	tier 1   unequal: one context there, the live records above it back, and the other's
//	         context, which counts if others bear it out
//	tier 2   equal contexts, unequal sums: ranges in dot order, down to lists
//	beats    leases of the workers beside this peer, straight to all, before bulk;
//	         not stored, repaired or passed on
//	path     whether packets pass, each way; where not, the stream takes what they would
//
// Nothing here is needed for safety: any of it may be lost, doubled or late.
//
// Invariants:
//
//	I1  A dot is passed on at most once, when it is new.
//	I2  A void is sent only for a dot this replica has seen and holds no record of.
//	I3  Queues are bounded in bytes; a peer that overflows its queue is synced instead.
//	I4  A dot is stable only if every known peer has acknowledged it and this peer
//	    has seen all that they had.
//	I5  No delivery needs a packet: where none passes, streams carry everything.
//	I6  No output depends on map order; two engines fed alike send alike.
//
// Prior art: delta-state CRDTs and their join decompositions (Almeida et al. 2016,
// Enes et al. 2018), Scuttlebutt reconciliation (van Renesse et al. 2008),
// range-based set reconciliation (Meyer 2022).
package gossip
