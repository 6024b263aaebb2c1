// Package sim runs replicas, the very machines that ship, in a seeded and hostile
// world of virtual time, and judges the outcome. Nothing in it reads a clock, opens a
// socket or starts a goroutine; one seed gives one run, on every machine.
//
//	r := sim.Seed(42)
//	fmt.Println(r.Hash, r.Violations)
//
// A seed draws a [Script]: the world it begins in (peers, clocks, disks, a network
// that loses, doubles and delays) and steps at their times (writes of every type to
// few keys, cuts, crashes, pauses). A script is a text that a person can read and
// write. A [Cluster] plays one, or what a program of yours does to it, with your rules,
// resolvers and workers. After the hostile part everything heals, and within a stated
// bound all peers must agree.
//
// What becomes of a message follows from what it is (sender, receiver, content,
// attempt) and the seed, not from how many came before it, so that leaving a step out
// changes little else: [Shrink] finds the few steps that matter.
//
// Oracles:
//
//	O1  healed and quiet, all replicas agree within the bound: equal contexts, equal
//	    checksums, equal bytes
//	O2  a peer reads what the reference model makes of the writes it has seen, after
//	    every step; and an acknowledged write that somebody who lived on had is seen
//	    by all in the end
//	O3  what was deleted does not return
//	O4  no dot is used twice
//	O5  queues are bounded
//	O6  no peer refuses another's frame, nor its own disk
//	O7  the changes told, conflicts left out, add up to what a peer holds, each key's in
//	    order
//	O8  without faults every write is everywhere within the batch interval and 100 ms,
//	    once the peers know each other; where packets do not pass, within two seconds
//	O9  time goes on
//	O10 a peer whose clock is right may write, however far another is ahead
//	O11 what a peer with a disk has acknowledged is on its disk when it dies
//	O12 a run plays alike
//	O13 a write is later than what its writer had seen
//	O14 at rest nothing waits, and no removal is remembered that all have seen
//	O15 a write is refused for want of room only if it adds to a store that has none
//	O16 nobody takes itself for a copy that is none, nor a life that has ended for one that is up
//	O17 a member that lies costs the others little: what it asks for and tells of is bounded
//
// A liar is no peer of the run: O1 says that all others agree, whatever it told them, and O2
// that no write of theirs is lost, but at the keys that it wrote to.
//
// Of work queues, whose machine is that of internal/queue:
//
//	W1  an item is handed out to one worker at a time, and never after it was completed
//	    validly
//	W2  one of its completions is valid, and stands on every peer
//	W3  a completion is refused once the item was handed out again
//	W4  healed, every item that somebody has who lived on is done or dead everywhere
//	    within the bound
//	W5  a peer tries items by priority, and by age while it has no rivals
//	W6  who knows that an id is taken does not take it again
//
// Of locks, where a holder's window is the time during which it takes itself for
// one, by its own clock, laid on the run's time:
//
//	L1  windows that exclude each other do not overlap
//	L2  tokens rise
//	L3  a release or renewal by who does not hold is refused, one by a holder is not
//	L4  a lease that is over is never held again, and its holder is told
//	L5  healed, and with no voter silent any more, every lock is to be had within the bound
//	L6  without faults locks are granted in the order in which they were asked for
//	L7  voters change by one name at a time
//	L8  a lease that goes on, here or at another peer, keeps its token, and no other got the lock since
//
// Of workers that beat:
//
//	H1  without faults, who beats is active on every peer
//	H2  who stopped is active nowhere, once twice its time and what delays messages is over
//	H3  healed, who beats is active on every peer within the bound
//
// Of subscribers that take their time, whose queue is that of internal/backlog:
//
//	R1  a key's changes come in order, each from what was told before
//	R2  who has heard all there is knows what its peer told, also if it lagged
//
// The reference model is a few lines for each type, over every acknowledged write and
// what its writer had seen; it knows nothing of records, pasts or checksums. Where
// the rules leave two answers open (a delete that its reader has only been told of),
// it is not sure and says nothing.
package sim
