package envelope

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// Sealer seals the datagrams of one life.
type Sealer struct {
	self     Mark
	key      Key
	ways     map[string]*wayOut // by the id of the receiver
	greatest uint64             // greatest counter used on any way
}

// wayOut is a way towards one member.
type wayOut struct {
	aead cipher.AEAD
	last uint64 // counter of the last envelope
}

// NewSealer returns the Sealer of the life with the id self.
func NewSealer(self string, key Key) *Sealer {
	s := &Sealer{self: MarkOf(self)}
	s.SetKey(key)
	return s
}

// SetKey replaces the key that seals.
func (s *Sealer) SetKey(key Key) { s.key, s.ways = key, make(map[string]*wayOut) }

// Forget frees the memory for a member that is long gone.
func (s *Sealer) Forget(id string) { delete(s.ways, id) }

var errCounters = errors.New("this life has sealed 2^48 envelopes; a restart begins another")

// Blank is an envelope with its key and its counter and without a message. It may be sealed on any
// goroutine, exactly once: a second message under its counter would break the cipher.
type Blank struct {
	aead    cipher.AEAD
	key     byte
	from    Mark
	counter uint64
}

// Next returns the next envelope for the member with an id. It fails once the counter has reached
// 2^48-1.
func (s *Sealer) Next(id string) (Blank, error) {
	w := s.ways[id]
	if w == nil {
		aead, err := s.key.way(s.self, MarkOf(id))
		if err != nil {
			return Blank{}, err
		}
		if len(s.ways) >= MaxWays {
			clear(s.ways)
		}
		w = &wayOut{aead: aead, last: s.greatest}
		s.ways[id] = w
	}
	if w.last+1 >= 1<<(8*counterBytes) {
		return Blank{}, errCounters
	}
	w.last++
	s.greatest = max(s.greatest, w.last)
	return Blank{w.aead, s.key.Name, s.self, w.last}, nil
}

// Seal appends to dst the envelope of a message; kind is 0 to MaxKind. The result is Overhead bytes
// longer than the message.
func (b Blank) Seal(dst []byte, kind byte, message []byte) []byte {
	start := len(dst)
	dst = append(dst, Sealed|kind, b.key)
	dst = append(dst, b.from[:]...)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], b.counter)
	dst = append(dst, counter[8-counterBytes:]...)
	body := len(dst)
	dst = append(dst, message...) // it is sealed in place, so that message does not escape to the heap
	header := dst[start:body]
	return b.aead.Seal(dst[:body], header[nonceAt:], dst[body:], header)
}
