// Package subject holds the measurements, one file each. A subject runs in a
// process of its own, so that no heap or cluster of one weighs on another; within
// it, we and the rivals take turns.
package subject
