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
//	client    makes instances, anchors their time, renews and ends them   every peer
//	owner     queues, orders, proposes; rendezvous hash of 64 shards      a voter
//	acceptor  certifies instances for a time                              each voter
//
// Safety lies in two rules. An acceptor never overwrites a live record of another
// instance, except in best-effort mode, and only its own client may end an instance. Safety does
// not depend on which voter owns a lock, nor on what an owner believes: any number
// of voters may take themselves for the owner, and that costs a split vote and a
// retry. It depends on rules O2 to O4, which each owner keeps for its own rounds, and on C7.
// A grant takes one round, client to owner to a majority of voters and back. There
// are no ballots, there is no leader, and no log. A client renews its leases together, by one
// message to each voter for up to 256 of them.
//
// A lease acquired WithBearer is a bearer's lease: the bearer, that is every program that
// has the lease's ID, may renew and release it at every peer. A peer that does not know the
// lease resumes it by a round that an acceptor certifies only if it has exactly this instance
// and token on record. An acceptor that has seen the release of the lease certifies it no more.
//
// Everything that decides is [Node], a value machine: calls, packets and [Time] go
// in, and Ready says what to do. [Session] is the shell: it owns the clock, the
// timer and the goroutine, and its caller brings the network.
//
// # Words
//
//	instance    one attempt of a client to get a lock; its name is random and never reused
//	round       one request of a client to certify its instance, numbered by the client
//	record      what an acceptor has certified: instance, round, token, and until when
//	floor       the highest token that an acceptor has acknowledged for a lock
//	belief      an instance that an owner takes to hold a lock; a Nack corrects it
//	bearer      a program that has the ID of a lease which the session does not renew by itself
//	bundle      leases of one client with the same TTL, which the client renews by one message
//	epoch       the number of a list of voters
//	quarantine  the time after its start in which a voter certifies nothing (A6)
//	fresh       a voter is fresh for a third of MaxTTL after its quarantine. Within that time
//	            each lease that still runs is renewed, and so gets on record at the voter
//	view        the peers that are up, as one peer sees them; it says whom to ask, and
//	            never counts as a quorum except in best-effort mode
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
//	I1  At every moment at most one client holds a lock by its own clock, or several that all
//	    hold it shared.
//	I2  Tokens of successive holders strictly rise; holders that share a lock may have
//	    tokens in any order.
//	I3  A majority of the voters of one epoch has certified the holder in exactly one round.
//	I4  A holder's deadline passes before the record of any of its certifiers ends.
//	I5  A dead instance is never held again. An instance is dead once its client has released
//	    it or its deadline has passed. A bearer's instance is dead once any peer has released
//	    it or no majority has it on record, whatever deadline one peer knows.
//	I6  The floor of a lock never falls while an acceptor runs.
//	I7  A proposal replaces a live record only if it names that instance as released. In
//	    best-effort mode a renewal with a higher token replaces it, too.
//
// # Rules
//
// The code cites these rules where it keeps them, and each has a mutant of its name in
// internal/mutants that a test or the random checker catches.
//
// An acceptor
//
//	A0   while it is in quarantine, sends no Ack, no Cleared, and no records in a
//	     StatusReply; and never certifies a TTL above MaxTTL.
//	A1   refuses a proposal that conflicts with a live record of another instance,
//	     unless the proposal names that instance as released.
//	A2   requires a token above those of all other instances (its floor), and raises the
//	     floor with every Ack, also with one that changes nothing else. The renewal of a
//	     bearer's lease keeps its token, and A10 stands in for this rule.
//	A3   acknowledges a round again, or an earlier one, without extending the record.
//	A4   removes on a release exactly the instance that it names, and only for its client.
//	A5   records an instance for its TTL, stretched by the worst drift of two clocks.
//	A6   is in quarantine when its process starts, for longer than any lease that it may
//	     have certified lasts, and acknowledges no token above the bound on its disk.
//	A7   forgets records that have expired; floors of idle locks become one of their
//	     shard, which is no lower.
//	A8   never certifies a bearer's instance again once it has seen its release.
//	A9   certifies that a lease is resumed only if it has that instance, token and mode
//	     on record.
//	A10  never puts a bearer's exclusive instance on record anew once it has acknowledged
//	     a higher token for the lock.
//	A11  certifies a round of a bundle only if it has exactly the leases of the bundle on
//	     record, by their instances and tokens, and would certify a renewal of each. The
//	     answer counts as an acknowledgement of all of them.
//
// An owner
//
//	O1  proposes only the head of its queue, or the shared waiters at its head together, and
//	    only if it believes that no holder conflicts. The belief decides nothing else, and
//	    a Nack corrects it.
//	O2  gives each round of an acquisition a token of its own, and a renewal the token of
//	    its lease. If too many voters refuse a renewal for its token, the owner proposes it
//	    again with a higher one, except for a bearer's lease. The voters record the higher
//	    token, which Inspect shows, and the lease keeps its first.
//	O3  grants when a majority of distinct voters has acknowledged exactly this instance,
//	    round, token and epoch.
//	O4  names an instance as released only if its own client has released it.
//	O5  gives an acquisition up if it split the votes with another, since two of them could
//	    otherwise keep each other from a majority for ever.
//
// A client
//
//	C1  counts a lease from when it first sent the round that was granted.
//	C2  never holds an instance again whose deadline has passed.
//	C3  begins a new round every third of the TTL while it waits, and while it holds a lease
//	    that is not a bearer's. A lease that was renewed by itself shares the later rounds of
//	    a bundle, until a voter has other leases of the bundle on record than the client.
//	C4  stops using a lease first and then releases it, repeating the release until it is
//	    confirmed or the TTL is over. A lease whose time runs out ends for its caller a
//	    margin before its deadline, and is released at the deadline, or once its caller
//	    unlocks it. No other lease is released that its caller did not unlock.
//	C5  releases a grant for an instance that is over.
//	C6  releases an instance whose vote was split, waits for a random time, and tries
//	    with a new one.
//	C7  extends by a round of a bundle only leases that were in the bundle when the round
//	    began, and that are still held, once a majority of distinct voters of one epoch has
//	    certified the round (I3).
//
// Voters change
//
//	R1  An acceptor refuses rounds of an epoch that is not its own.
//	R2  An owner counts acknowledgements of one epoch only.
//	R3  Each list differs from the one before by one name, so that their majorities meet.
//	R4  The next list comes when a majority of the former voters works by the present
//	    one and the leases by the list before have ended.
//	R5  A voter counts as working by the present list only when the highest token that it
//	    reports is not above the bound on this peer's disk. New voters learn no records: A6
//	    is enough.
//	R6  Rounds of the same epoch with another list of voters are refused and reported.
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
