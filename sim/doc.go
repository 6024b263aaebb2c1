// Package sim runs replicas, the very machines that ship, in a seeded and hostile
// world of virtual time, and judges the outcome.
//
//	r := sim.Run(sim.Config{Seed: 42})
//	fmt.Println(r.Hash, r.Violations)
//
// A run has two phases. In the first anything may happen: loss, duplication, delay,
// cuts, members wrongly declared dead, crashes without disk, clocks that disagree,
// and writes of every type to few keys. In the second the network heals, nobody
// writes, and within a stated bound every replica must hold the same.
//
// What happens to a message depends on what it is (sender, receiver, content,
// attempt) and the seed, not on how many came before it, so that leaving one out
// changes nothing else.
//
// Oracles:
//
//	O1  healed and quiet, all replicas converge within Settle: equal contexts, equal
//	    checksums, equal bytes
//	O2  a write that was acknowledged on a replica that lived on is there in the end,
//	    or a later one in its place
//	O3  what was deleted after being seen does not return
//	O4  no dot is used twice
//	O5  queues are bounded
//
// One seed gives one Result, on every run and machine.
package sim
