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

import (
	"crypto/cipher"
	"crypto/sha256"
)

// Sealed begins the first byte of an envelope, whose lower four bits are its kind.
const Sealed byte = 0xE0

// MaxKind is the greatest kind of a message.
const MaxKind = 0x0F

const (
	// MarkBytes is the length of a Mark.
	MarkBytes = 8
	// Overhead is how many bytes longer an envelope is than its message.
	Overhead = headerBytes + 16

	counterBytes = 6
	headerBytes  = 2 + MarkBytes + counterBytes
	nonceAt      = headerBytes - 12
)

// MaxWays bounds the members that envelopes go to, and those that they are taken from, in
// one life. Of these, beyond it, the one that was silent for longest is forgotten, and with
// it the window that keeps its envelopes from being replayed.
const MaxWays = 1 << 16

// Mark names a life in few bytes.
type Mark [MarkBytes]byte

// MarkOf returns the mark of the life that has an id.
func MarkOf(id string) Mark {
	sum := sha256.Sum256([]byte("sentinel-peer life\x00" + id))
	return Mark(sum[:])
}

// Key is a key of the cluster.
type Key struct {
	Name byte // that envelopes bear; two keys may have the same
	// Pair derives the cipher of the way between two lives from their marks, the
	// sender's before the receiver's. Its nonce has 12 bytes and its tag has 16.
	Pair func(lives [2 * MarkBytes]byte) (cipher.AEAD, error)
}

// way returns the cipher of the way between two lives.
func (k Key) way(from, to Mark) (cipher.AEAD, error) {
	var lives [2 * MarkBytes]byte
	copy(lives[:], from[:])
	copy(lives[MarkBytes:], to[:])
	return k.Pair(lives)
}
