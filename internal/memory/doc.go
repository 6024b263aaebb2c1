// Package memory is the shared memory at one peer: the machine (internal/replica) behind
// one lock, for readers and writers on any goroutine. The peer itself (package agent) and
// what is built on it (agent/fleet, agent/workqueue) all go through it.
//
// Readers of keys take no lock, for the store publishes what they need. Everything else
// that touches the machine does so within [Memory.Do], [Memory.Write] or [Memory.Turn]; no
// I/O and no code of users runs there.
package memory
