// Package crdt is the replicated store: keys of six kinds. Any peer writes a key
// without asking the others, and all peers read the same value once they have seen
// the same writes.
//
// # Model
//
// A [Store] consists of the live records S and the causal context C. Each mutation,
// a removal included, is one record with a fresh dot (actor, sequence number) in one
// slot. A slot is a key, a path inside the key, and a slot kind. C is the set of dots
// that this replica has seen. C serves as the vector clock, as the digest that peers
// compare, and as the compact memory of every record that is gone. The scheme is that
// of DottedDB (Gonçalves et al., SRDS 2017) and of delta-state CRDTs (Almeida, Shoker,
// Baquero, 2018).
//
// A record carries a past: a list of (actor, n). An entry says that the record's writer
// had seen every dot of that actor up to n at the record's slot. At one slot only the
// latest dot of an actor can be live, so this short vector names exactly the dots that
// the record covers, which is to say overwrites. A past leaves out the writer's own
// dots, so the records of a key with one writer have an empty past.
//
// There are two families of slots:
//
//   - Last write wins: a register leaf, and the marker of an object. The record that is
//     greatest by (stamp, actor, seq) stays. The past only distinguishes an earlier
//     write from a concurrent one, and a concurrent loser goes to the conflict journal.
//     A delete is a record with a stamp of its own.
//   - Dotted: set elements, maxima, counts, siblings, and kinds that this version does
//     not know. Every record stays that no other record covers. A removal is a record
//     that covers what its writer saw, so a concurrent add wins.
//
// A clear is one record that removes everything at and below a path. It removes
// last-write-wins records by stamp, and dotted records by its past.
//
// A void is a dot whose record the sender no longer has, because another record has
// superseded it. A section that names voids also carries the records that superseded
// them, so that a receiver never counts a write as seen while it has neither the write
// nor its successor.
//
// # Invariants
//
//	I1  A dot is assigned to one write only. It is in C exactly if its record was
//	    merged, or if it was a void at the peer from which a section or a context
//	    brought it.
//	I2  Pasts are transitive: a record that covers another also covers what that one
//	    covered, alone or together with the other live records of the slot.
//	I3  Two peers with equal C have equal S, whatever the order of arrival, if each
//	    has seen the successor of every void. [Store.AppendState] shows it.
//	I4  Removals, clears, and expired records are forgotten only when they are stable,
//	    or are counted as truncated. The checksums never cover them.
//	I5  Readers see immutable records: [Store.Load] takes no lock and never waits.
//	    All other state has one owner.
//	I6  No input from a peer makes the store panic.
//	I7  Every peer accepts what Apply accepts, because one rule judges both.
//	I8  When a dot is seen with two contents, every peer that has seen both keeps the
//	    same one.
//
// # Limits
//
// A key has at most 1 KiB, a value 1 MiB, and a path 4 KiB. A batch has at most 1,024
// operations, and one object or set operation writes at most 4,096 leaves. The delete
// of a counter resets what the deleter saw: an increment that is concurrent with the
// delete keeps its actor's whole count. A set without elements is absent, unless it is
// inside an object. An object without fields stays.
//
// # Use
//
//	s := crdt.New(crdt.Config{Actor: self})
//	v, _ := crdt.ValueOf("running")
//	deltas, err := s.Apply(hlc.Now(now), nowMillis, crdt.Op{Verb: crdt.Put, Key: "tasks/42/state", Value: v})
//	frame = s.AppendSection(frame, &table, self, first, last, deltas)
//
// The receiver merges the frame:
//
//	r := wire.NewReader(frame)
//	result, err := other.JoinSection(&r, table.Actors(), limit)
package crdt
