// Package crdt is the replicated store: keys of six kinds that any peer writes
// without asking, and that all peers read alike once they have seen the same
// writes.
//
// # Model
//
// A [Store] is the live records S and the causal context C. Each mutation, a
// removal too, is one record with a fresh dot (actor, sequence number) in one
// slot: a key, a path inside it, and a slot kind. C is the set of dots seen: at
// once the vector clock, the digest that peers compare, and the compact memory of
// everything that is gone. The scheme is that of DottedDB (Gonçalves et al., SRDS
// 2017) and of delta-state CRDTs (Almeida, Shoker, Baquero, 2018).
//
// A record carries its slot's past: a list of (actor, n) that says "every dot of
// that actor up to n at this slot was seen". At one slot only the latest dot of
// an actor can be live, so this short vector names exactly what is overwritten. A
// writer's own dots go without saying: a key with one writer carries no past.
//
// Two families of slots:
//
//   - Last write wins: a register leaf and the marker of an empty object. The one
//     record greatest by (stamp, actor, seq) stays; the past only tells before
//     from concurrent, and concurrent losers are journalled. A delete is a stamped
//     record of its own.
//   - Dotted: set elements, maxima, counts, siblings, and kinds this version does
//     not know. All records stay that no other covers. A removal is a record that
//     covers what its writer saw, so a concurrent add wins.
//
// A clear removes everything at and below a path with one record: last-write-wins
// records by stamp, dotted ones by its past.
//
// # Invariants
//
//	I1  A dot is minted once, and is in C exactly if its record was merged, or was
//	    void: superseded by another that the sender had.
//	I2  Pasts are transitive: what covers a record covers what that one covered,
//	    alone or with the other live records of the slot.
//	I3  Peers with equal C that were never told of voids whose successors they lack
//	    have equal S, in any order of arrival. [Store.AppendState] shows it.
//	I4  Removals, clears, and expired records leave only when stable, or counted as
//	    truncated, and the checksums never cover them.
//	I5  Readers see immutable records: [Store.Load] takes no lock and waits for
//	    nobody. All other state has one owner.
//	I6  Nothing a peer sends makes the store panic.
//	I7  What Apply accepts, every peer takes: one rule judges both.
//	I8  Of two contents of one dot the same stays on every peer that was told of both.
//
// # Limits
//
// A key is 1 KiB, a value 1 MiB, a path 4 KiB; a batch has 1,024 operations, one
// object or set operation 4,096 leaves. Deleting a counter resets what the
// deleter saw: an increment concurrent with it keeps its actor's whole count.
// A set without elements is absent, unless it is inside an object, which stays without
// fields.
//
// # Use
//
//	s := crdt.New(crdt.Config{Actor: self})
//	v, _ := crdt.ValueOf("running")
//	deltas, err := s.Apply(hlc.Now(now), nowMillis, crdt.Op{Verb: crdt.Put, Key: "tasks/42/state", Value: v})
//	frame = s.AppendSection(frame, &table, self, first, last, deltas)
//
// and at the other end:
//
//	r := wire.NewReader(frame)
//	result, err := other.JoinSection(&r, table.Actors(), limit)
package crdt
