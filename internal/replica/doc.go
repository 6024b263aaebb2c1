// Package replica composes the clock, the store and the gossip engine into the
// one machine that the agent and the simulator drive.
//
// Operations, frames, members and time go in; what must happen comes out of
// [Replica.Ready], and nowhere else: first what a disk must hold, then the changes for
// local readers, then the envelopes for the network. The machine has no goroutine, clock
// or socket. What its owner may change goes through the methods of [Replica];
// [Replica.View] only reads.
//
// # Duties of the owner
//
//  1. Calls are made one at a time. No call waits for anything, and no argument is kept:
//     a frame that was given to Receive may be used again.
//  2. What is on disk goes in first, by Restore: an image, and the entries of the journal
//     since that image began, in their order.
//  3. SetMembers says who the other peers are: each time the list changes, with all of
//     them, the dead ones until they are given up. Nothing is collected before a first
//     peer was named.
//  4. now is a reading of this machine's wall clock, which may be wrong or be set. Tick is
//     called at Deadline or soon after it. A Deadline is good until the next call.
//  5. Ready is taken after every call that may have changed something: Write, Receive,
//     SetMembers, Tick, Flush, Lost, Window, RequestAcks, Host, Beat, Release. Several calls
//     may share one Ready. The effects of one Ready are complete before those of the next
//     begin, and come in the order of its fields. First Journal is on disk, as one
//     transaction. Then Changes have reached every reader that decides by them: what this
//     peer has acknowledged, its work queues must know. Only then do Envelopes leave, in
//     their order, each to the peer that writes as To: an envelope may acknowledge what is
//     in the two before.
//     If Rotated, the owner announces the new actor to the other peers with the list of
//     members; until they know it, frames that they send to the old actor are lost.
//  6. The owner reports what became of an envelope that was not a Packet. Window follows
//     each one of class Bulk, with the bytes that the way to that peer takes now, and again
//     when it takes more. Lost follows each one that was dropped. A Packet may be lost
//     without a report, and so may an envelope for an actor that no peer has.
//  7. A caller that waits for acknowledgements calls RequestAcks, looks again at each Ready
//     with Acked, and repeats RequestAcks every now and then, since the request may be lost.
//  8. Changes are given back with Store().Recycle when no reader uses them any more.
//  9. An orderly end is ReleaseAll, the last writes, waiting until View().Replicas names no
//     peer, and then leaving the cluster. A Replica needs no Close.
//
// A write is visible to readers of this peer when Write returns, before its Ready: the
// caller may be answered at once, unless the answer promises what a Ready does.
//
// # Invariants
//
//	I1  A write that returned is in the store, and in the next Ready.
//	I2  No write is stamped later than peers with correct clocks accept.
//	I3  An actor that another peer uses as well is given up before the next write.
package replica
