// Package envelope is the rule of which datagram a peer takes: it seals each for one life
// of one process, which opens it once. Who records datagrams and has no key can neither
// replay them, nor reflect them to their sender, nor show them to another peer or a later
// life. The transport and the simulator both carry packets through it.
//
// An envelope is 32 B around a message:
//
//	0xE0 + kind, 1 B name of the key, 8 B mark of the sender, 6 B counter,
//	the message sealed with AES-256-GCM, its tag of 16 B
//
// The mark of a life is a hash of its id. The key of an envelope is derived from the
// cluster's key and the marks of both lives; the receiver's does not travel, for under
// another's key nothing opens. The header is authenticated, and its last 12 bytes are the
// nonce. No counter comes twice under one key, though a way to a member is forgotten and
// opened anew: a new way begins above all counters that the sender has used.
//
// A Sealer and an Opener belong to one goroutine at a time.
package envelope
