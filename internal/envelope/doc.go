// Package envelope decides which datagrams a peer accepts. A datagram is sealed for one life of a
// peer, that is one run of its process, which opens it once. Somebody who records datagrams
// and has no key can neither replay them, nor reflect them to their sender, nor deliver them
// to another peer or a later life. The transport and the simulator carry packets through it.
//
// An envelope is 32 B around a message:
//
//	0xE0 + kind, 1 B name of the key, 8 B mark of the sender, 6 B counter,
//	the message sealed with AES-256-GCM, its tag of 16 B
//
// The mark of a life is a hash of its id. A way is the direction from one life to another; its key
// is derived from the cluster's key and the marks of both lives. The receiver's mark does not
// travel, since an envelope opens only under the key of its own way. The header is
// authenticated, and its last 12 bytes are the nonce. No counter is used twice under one key,
// even if the sender forgets a way and opens it anew: a new way begins above all counters
// that the sender has used.
//
// A Sealer and an Opener are not safe for concurrent use.
package envelope
