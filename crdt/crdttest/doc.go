// Package crdttest helps users who extend the store to test that their code keeps replicas
// equal.
//
// A [crdt.Resolver] runs on every peer whenever a custom key is read. Peers agree only if
// the Resolver is a function of the siblings' bytes. [CheckResolver] looks for clocks,
// randomness, map iteration, state kept between calls, and panics.
//
// A function that merges states pairwise must have more properties. [CheckJoin] checks that
// it is a join, which is commutative, associative and idempotent, so that states may arrive
// in any order and any number of times (Shapiro et al., Conflict-free Replicated Data Types,
// 2011).
//
// Both checks draw cases with pgregory.net/rapid, which shrinks a failing case and prints
// how to run it again. A check that passes is evidence but not proof.
//
//	func TestLongestWins(t *testing.T) {
//		crdttest.CheckResolver(t, longest, nil)
//	}
package crdttest
