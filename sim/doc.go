// Package sim runs clusters in virtual time, injects faults, and judges the outcome. The
// replicas, locks and queues are the state machines that ship. Nothing in the package
// reads a clock, opens a socket or starts a goroutine, so one seed gives the same run on
// every machine.
//
//	r := sim.Seed(42)
//	fmt.Println(r.Hash, r.Violations)
//
// A seed draws a [Script]. A script has the world that the run begins in (peers, clocks,
// disks, a network that loses, duplicates and delays) and steps at fixed times (writes of
// every type to few keys, cuts, crashes, pauses). A script is a text that a person can
// read and write. A [Cluster] plays a script, or takes its steps from a program that
// brings its own rules, resolvers and workers. When the script ends, all faults are
// healed, and all peers must agree within a stated bound.
//
// The fate of a message follows from the seed and from the message itself (sender,
// receiver, content, attempt). The fate does not depend on the number of earlier messages,
// so a run without one step differs little from the run with it. [Shrink] uses this to
// find the few steps that matter.
//
// # Words
//
//   - A life is a peer's process from one start to its end. Each life writes as an actor
//     of its own.
//   - A deed is what one acknowledged write did to one key. A ledger has all deeds of a
//     key, and the reference model reads it.
//   - A reader's verdict is vague, or not sure, where the rules allow two answers.
//   - A window is the time during which a client takes itself for the holder of a lock,
//     by its own clock, converted to the time of the run.
//   - A liar is a member that breaks the protocol on purpose. A liar is no peer of the run.
//   - A bearer is a client that renews its own lease and may go on at another peer.
//
// # Oracles of the store
//
//	O1  After healing, all replicas agree within the bound: equal contexts, equal
//	    checksums, equal bytes.
//	O2  After every step a peer reads what the reference model makes of the writes that
//	    the peer has seen. In the end every peer has seen each acknowledged write that
//	    a surviving process or disk has.
//	O3  A deleted value does not return.
//	O4  No dot is used twice.
//	O5  Queues are bounded.
//	O6  No peer refuses another peer's frame, nor the contents of its own disk.
//	O7  The changes that a peer reports, conflicts left out, add up to what the peer
//	    holds. The changes of one key come in order.
//	O8  Without faults every write is on every peer within the batch interval plus 100 ms,
//	    once the peers know each other. Where packets do not pass, the bound is the batch
//	    interval plus two seconds.
//	O9  Time goes on.
//	O10 A peer whose clock is right may write, however far another peer's clock is ahead.
//	O11 A peer with a disk acknowledges only what is on its disk when it dies.
//	O12 Two runs of one script are equal.
//	O13 A write has a later stamp than every write that its writer had seen.
//	O14 A cluster at rest has empty queues, and remembers no removal that all have seen.
//	O15 A write is refused for want of room only if it adds to a store that has no room.
//	O16 No peer takes itself for a copy unless one exists, nor a life that has ended for
//	    one that is up.
//	O17 A liar costs the other peers little: the amount that they send and keep because of
//	    it is bounded.
//
// With a liar, O1 holds for all other peers, whatever the liar sent them. O2 holds for all
// keys but those that the liar wrote.
//
// # Oracles of work queues (the machine of internal/queue)
//
//	W1  An item is handed out to one worker at a time, and never after a valid completion.
//	W2  One completion of an item is valid, and stands on every peer.
//	W3  A completion is refused once the item was handed out again.
//	W4  After healing, every item that a surviving process or disk has is done or dead on
//	    every peer within the bound.
//	W5  A peer tries items by priority, and by age while no other peer claims.
//	W6  A peer that knows that an id is taken does not take it again.
//
// # Oracles of locks
//
//	L1  The windows of holders that exclude each other do not overlap. The window of a lease
//	    that runs out lasts until its deadline: its holder hears of the end a margin earlier,
//	    and stops at the deadline.
//	L2  Tokens rise.
//	L3  A release or renewal by a client that does not hold the lock is refused. A release
//	    or renewal by the holder is not.
//	L4  A lease that has ended is never held again, and its holder is notified.
//	L5  After healing, once no voter is silent, every lock can be acquired within the bound.
//	L6  Without faults locks are granted in the order of the requests.
//	L7  The voters change by one name at a time.
//	L8  A lease that is resumed, at the same peer or at another, keeps its token, and no
//	    other client held the lock in between.
//
// # Oracles of heartbeats
//
//	H1  Without faults a worker that beats is active on every peer.
//	H2  A worker that has stopped is active nowhere, once twice its TTL and the delay of
//	    messages have passed.
//	H3  After healing, a worker that beats is active on every peer within the bound.
//
// # Oracles of slow subscribers (the queue of internal/backlog)
//
//	R1  The changes of one key come in order, each from the value that came before.
//	R2  A subscriber that has taken all changes knows what its peer reported, even if the
//	    subscriber lagged.
//
// The reference model has a few lines for each type. Its input is every acknowledged
// write with what the writer had seen. The model knows nothing of records, causal
// histories of slots, or checksums. The rules allow two answers in some cases: a delete,
// for example, of which the reader knows only that it happened. The model then gives none.
package sim
