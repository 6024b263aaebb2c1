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

// MaxWays bounds the ways that a Sealer keeps, and those that an Opener keeps. An Opener that has
// more forgets the way that was silent for longest, and with it the window that keeps the
// envelopes of that way from being replayed.
const MaxWays = 1 << 16

// Mark names a life in few bytes.
type Mark [MarkBytes]byte

// MarkOf returns the mark of the life with an id.
func MarkOf(id string) Mark {
	sum := sha256.Sum256([]byte("sentinel-peer life\x00" + id))
	return Mark(sum[:])
}

// Key is a key of the cluster.
type Key struct {
	Name byte // envelopes carry it to select the key; two keys may have the same
	// Pair derives the cipher of a way from the marks of its two lives, the sender's before
	// the receiver's. The cipher must have nonces of 12 bytes and tags of 16 bytes.
	Pair func(lives [2 * MarkBytes]byte) (cipher.AEAD, error)
}

// way returns the cipher of the way from one life to another.
func (k Key) way(from, to Mark) (cipher.AEAD, error) {
	var lives [2 * MarkBytes]byte
	copy(lives[:], from[:])
	copy(lives[MarkBytes:], to[:])
	return k.Pair(lives)
}
