// Package memory makes the machine of one peer (internal/replica) safe for concurrent use: one
// mutex, here called the lock, guards it. Package agent and the packages built on it
// (agent/fleet, agent/workqueue) read and write shared keys only through a [Memory].
//
// A Memory has one owner, the loop of package agent. The owner calls [Memory.Turn], which hands
// received frames and the time to the machine, and carries out the effects that Turn returns:
// changes for subscribers, envelopes for the network.
//
// A reader of a key takes no lock in the usual case, since the store publishes its entries. All
// other access to the machine happens within [Memory.Do], [Memory.Write], [Memory.Update] or
// [Memory.Turn], with the lock held. No I/O runs there, and of the code of users only the functions
// of Update.
package memory
