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
