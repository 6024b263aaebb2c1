// Package replica composes the clock, the store and the gossip engine into the
// one machine that the agent and the simulator drive.
//
// Operations, frames, members and time go in; what must happen comes out of
// [Replica.Ready], and nowhere else: first the changes for local subscribers,
// then the envelopes for the network. It has no goroutine, clock or socket; one
// owner serialises all calls.
//
// Invariants:
//
//	I1  A write that returned is in the store, and in the next Ready.
//	I2  No write is stamped later than peers with good clocks accept.
//	I3  An actor that somebody else uses is given up before the next write.
package replica
