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
	ways     map[string]*wayOut
	greatest uint64 // counter of all ways
}

// wayOut is the way towards one member.
type wayOut struct {
	aead cipher.AEAD
	last uint64 // the counter of the last envelope
}

// NewSealer returns what seals for the life with an id, under a key.
func NewSealer(self string, key Key) *Sealer {
	s := &Sealer{self: MarkOf(self)}
	s.SetKey(key)
	return s
}

// SetKey has another key seal from now on.
func (s *Sealer) SetKey(key Key) { s.key, s.ways = key, make(map[string]*wayOut) }

// Forget lets go of the cipher of a member that is long gone.
func (s *Sealer) Forget(id string) { delete(s.ways, id) }

var errCounters = errors.New("this life has sealed 2^48 envelopes; a restart begins another")

// Blank is an envelope that has its key and its counter, and holds no message yet. It
// belongs to any goroutine, and is sealed once.
type Blank struct {
	aead    cipher.AEAD
	key     byte
	from    Mark
	counter uint64
}

// Next returns the next envelope for the member with an id. It fails after 2^48 of them.
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

// Seal appends to dst the envelope of a message of a kind from 0 to MaxKind.
func (b Blank) Seal(dst []byte, kind byte, message []byte) []byte {
	start := len(dst)
	dst = append(dst, Sealed|kind, b.key)
	dst = append(dst, b.from[:]...)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], b.counter)
	dst = append(dst, counter[8-counterBytes:]...)
	body := len(dst)
	dst = append(dst, message...) // and sealed in place, so that what it lies in may be on a stack
	header := dst[start:body]
	return b.aead.Seal(dst[:body], header[nonceAt:], dst[body:], header)
}
