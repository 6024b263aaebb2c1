// Package clock holds the clocks of a replica. They identify writes, record which writes a
// replica has seen, and order writes in time.
//
// An [Actor] is one life of a peer, from a start to the next. It numbers its writes 1, 2, 3…,
// and an actor and a number are a [Dot], the identity of one write. A [CausalContext] is the
// set of dots that a replica has seen. It has a [Span] for each actor, which is contiguous
// from 1 except for the gaps that loss and reordering leave. A [Vector] is the classical
// vector clock with one number for each actor. A [Timestamp] from an [HLC] orders writes in
// time, and never contradicts their causal order.
//
// Every restart makes an actor, so most actors of an old cluster will never write
// again. A context lists the actors that may still write, and keeps the others
// retired: packed in immutable blocks that copies of the context share. Retiring an
// actor changes where a context keeps what it has seen, never what it has seen.
// A [Summary] describes a context by its listed actors and by hashes over ranges of the
// retired ones, so that its size depends on what two peers differ in, and not on how
// often peers have restarted.
//
// Invariants:
//
//	I1  A dot names one write for ever: sequence numbers never outlive their actor.
//	I2  A Span is canonical: two spans of the same numbers are equal field by field.
//	I3  HLC.Now returns a Timestamp greater than every one it returned or observed.
//	I4  Nothing here reads a clock, and no result depends on map order.
//
// Limits: 48 bits of milliseconds (until the year 10889) and 16 bits of counter
// in a Timestamp; a counter that overflows carries into the milliseconds.
//
// Prior art: vector clocks (Fidge 1988, Mattern 1989), dotted version vectors
// (Preguiça et al. 2010), hybrid logical clocks (Kulkarni et al. 2014).
package clock
