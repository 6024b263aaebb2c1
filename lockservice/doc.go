// Package lockservice gives peers locks: leases that are never held twice, safe by
// a majority of named voters, with fencing tokens.
//
// What no lease can promise comes first. A holder that is paused, by its scheduler,
// by a debugger or by a closed lid, may wake up after its lease has moved to
// another and go on writing to a disk, a database, a service. Nobody can stop that
// write but the one who receives it. Give every such write the lease's token, and
// let a fence.Guard there refuse a token lower than the highest it has seen.
//
// # Roles
//
//	client    makes instances, anchors their time, releases them        every peer
//	owner     queues, orders, proposes; rendezvous hash of 64 shards    a voter
//	acceptor  certifies one instance for a time                         each voter
//
// Safety lies in two rules. An acceptor never overwrites a live record of another
// instance, and only its own client may end an instance. An owner has no part in
// it: any voter may believe that it owns a lock, any number at a time, and be
// wrong; that costs a split vote and a retry. A grant takes one round, client to
// owner to a majority of voters and back; there are no ballots, there is no leader,
// and no log.
//
// A lease that is renewed by hand belongs to its bearer, who has its ID and may renew and
// release it at every peer. A peer that does not know it resumes it: by a round that only
// acceptors certify which have exactly this instance and token on record. An acceptor that
// has seen its release certifies it no more.
//
// Everything that decides is [Node], a value machine: calls, packets and [Time] go
// in, and Ready says what to do. [Session] is the shell: it owns the clock, the
// timer and the goroutine, and its caller brings the network.
//
// # Assumptions
//
// Peers crash, restart without memory, pause, and lose, double, delay and reorder
// messages at will; none of them lies. Clocks that measure durations run within
// Config.Drift of real time, through suspend as well: on Linux that is
// CLOCK_BOOTTIME. On other systems Go's monotonic clock may stand still while the
// machine sleeps, and a lease that was held then may be held by two until the
// sleeper has looked at its clock: the token still protects. Wall clocks order
// tokens only, and only after a voter has lost its memory; with Config.Durable not
// even then.
//
// Outside the promise: a snapshot of a virtual machine restored, two machines under
// one voter's name, a list of voters forced by its operator (a restart with a list
// two steps ahead), Config.FirstBoot asserted wrongly, best-effort mode.
//
// # Invariants
//
//	I1  At most one instance thinks that it holds a lock (or several, all shared).
//	I2  Tokens of successive holders strictly rise; readers next to each other may
//	    have theirs in any order.
//	I3  Who holds was certified, by exactly one round, by a majority of one epoch.
//	I4  A holder's deadline passes before the record of any of its certifiers.
//	I5  An instance that is dead is never held again: one that ran out, or of a bearer
//	    one that was released, at whatever peer, or that no majority has on record.
//	I6  A floor never falls within one life of an acceptor.
//	I7  A live record is replaced only by who names it as released.
//
// # Limits
//
// Names have up to 256 bytes, leases 500 ms to Config.MaxTTL, lists of voters 1 to
// 7 names, locks up to 256 shared holders. Locks are not reentrant. A lock held
// exclusively or shared, and a semaphore of the same name, are different locks.
// Peers that give one semaphore different sizes get the larger.
//
// # Prior art
//
// Leases (Gray and Cheriton 1989), rendezvous hashing (Thaler and Ravishankar
// 1998), fencing tokens and the sequencers of Chubby (Burrows 2006), and the
// critique of locks without them (Kleppmann 2016).
package lockservice
