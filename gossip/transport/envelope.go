package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// A datagram is an envelope around one message, memberlist's packets included:
//
//	with a key     as package envelope says
//	without one    0xF8, 8 B cluster hash, kind, message
//
// A datagram that begins with byteEcho is an echo, which asks whether packets pass at all, and may
// come from a peer that is no member: see probepackets.go.
const (
	bytePlain byte = 0xF8
	byteEcho  byte = 0xF9

	plainHeader = 1 + clusterHashBytes
)

// Kinds of messages. A receiver drops and counts what it does not know.
const (
	kindMembers byte = iota // a packet of memberlist
	kindFrame               // a frame of SendPacket
	kindBye                 // the member whose id follows leaves on purpose
)

// envelopes seals and opens the datagrams of one life. It is safe for concurrent use.
type envelopes struct {
	cluster [clusterHashBytes]byte

	outMu  sync.Mutex       // guards first and sealer
	first  *streamKey       // the key that seals; nil without keys
	sealer *envelope.Sealer // nil without keys

	inMu   sync.Mutex // guards keys and opener
	keys   []streamKey
	opener *envelope.Opener
}

func newEnvelopes(me *identity) *envelopes {
	keys := *me.keys.Load()
	e := &envelopes{cluster: me.clusterHash, keys: keys, opener: envelope.NewOpener(me.id, packetKeys(keys))}
	if len(keys) > 0 {
		e.first, e.sealer = &keys[0], envelope.NewSealer(me.id, keys[0].packetKey())
	}
	return e
}

// setKeys replaces the keys: the first of keys seals from now on, and all of them open.
func (e *envelopes) setKeys(keys []streamKey) {
	e.inMu.Lock()
	e.keys = keys
	e.opener.SetKeys(packetKeys(keys))
	e.inMu.Unlock()
	e.outMu.Lock()
	e.first = &keys[0]
	e.sealer.SetKey(keys[0].packetKey())
	e.outMu.Unlock()
}

// forget frees the memory for a member that is long gone.
func (e *envelopes) forget(id string) {
	e.inMu.Lock()
	e.opener.Forget(id)
	e.inMu.Unlock()
	e.outMu.Lock()
	if e.sealer != nil {
		e.sealer.Forget(id)
	}
	e.outMu.Unlock()
}

// packetKey returns the key in the form of package envelope.
func (k *streamKey) packetKey() envelope.Key { return envelope.Key{Name: k.id[0], Pair: k.pair} }

func packetKeys(keys []streamKey) []envelope.Key {
	list := make([]envelope.Key, len(keys))
	for i := range keys {
		list[i] = keys[i].packetKey()
	}
	return list
}

// pair makes the cipher of the way between two lives.
func (k *streamKey) pair(lives [2 * envelope.MarkBytes]byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.packets, lives[:], "sentinel-peer pair v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal appends to dst the envelope of a message for the member id.
func (e *envelopes) seal(dst []byte, id string, kind byte, message []byte) ([]byte, error) {
	e.outMu.Lock()
	if e.sealer == nil {
		e.outMu.Unlock()
		dst = append(append(dst, bytePlain), e.cluster[:]...)
		return append(append(dst, kind), message...), nil
	}
	blank, err := e.sealer.Next(id)
	e.outMu.Unlock()
	if err != nil {
		return nil, err
	}
	return blank.Seal(dst, kind, message), nil
}

// letter is the content of an envelope.
type letter struct {
	envelope.Letter
	sealed bool
}

// signed reports whether the letter is from the member id. Without a key nobody can tell, and it
// returns true.
func (l letter) signed(id string) bool { return !l.sealed || l.From == envelope.MarkOf(id) }

var dropped = [...]cause{
	envelope.Taken: causes, envelope.Malformed: refuseMalformed, envelope.Replayed: dropReplayed,
	envelope.UnknownKey: refuseKey, envelope.BadSeal: refuseSeal,
}

// open returns the content of an envelope in memory of its own, and the cause for which it is
// dropped; the cause is causes if it is accepted.
func (e *envelopes) open(b []byte) (l letter, why cause) {
	e.inMu.Lock()
	defer e.inMu.Unlock()
	switch {
	case len(b) == 0 || b[0] != bytePlain:
		sealed, verdict := e.opener.Open(nil, b)
		return letter{sealed, true}, dropped[verdict]
	case len(b) <= plainHeader:
		return l, refuseMalformed
	case [clusterHashBytes]byte(b[1:]) != e.cluster:
		return l, refuseCluster
	case len(e.keys) > 0:
		return l, refuseKey
	}
	return letter{Letter: envelope.Letter{Kind: b[plainHeader], Body: slices.Clone(b[plainHeader+1:])}}, causes
}
