// Package subject has the measurements, one file each. A subject runs in a process of its
// own, so that the heap or cluster of one does not slow another down. Within a subject,
// this project and its rivals take turns.
package subject
