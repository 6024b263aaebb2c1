// Package crdttest checks, in the tests of those who extend the store, that their
// code keeps replicas equal.
//
// A [crdt.Resolver] runs on every peer whenever a custom key is read. Peers agree
// only if it is a function of the siblings' bytes: [CheckResolver] looks for
// clocks, randomness, map iteration, state kept between calls, and panics. Whoever folds values pairwise has more to keep:
// [CheckJoin] checks that the fold is a join, which is commutative, associative and
// idempotent, so that histories may come in any order and any number of times
// (Shapiro et al., Conflict-free Replicated Data Types, 2011).
//
// Both draw cases with pgregory.net/rapid, which shrinks what fails and prints how
// to run it again. A check that passes is evidence, no proof.
//
//	func TestLongestWins(t *testing.T) {
//		crdttest.CheckResolver(t, longest, nil)
//	}
package crdttest
