package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
)

var errNoKey = errors.New("no key has this name")

// A datagram is an envelope around one message, memberlist's packets included:
//
//	with a key     0xF7, 4 B key id, 8 B mark of the sender, 8 B counter, sealed (kind, message), 16 B tag
//	without one    0xF8, 8 B cluster hash, kind, message
//
// The mark of a member is a hash of its id, and an id names one life of one process. An
// envelope is sealed (AES-256-GCM) under a key that HKDF derives from the cluster's key and
// both marks, with the counter as the nonce. So only the life that it is meant for can open
// it, and that life opens it once: a window over the counters, as in IPsec (RFC 4303,
// section 3.4.3), drops what comes again. Who records datagrams can neither replay them,
// nor reflect them to their sender, nor show them to another member or a later life.
//
// A counter is 24 bits that number the ways this process has opened towards members, and 40
// bits that number the envelopes of that way. No nonce comes twice under one key, though a
// way is forgotten and opened anew.
//
// An echo asks whether packets pass at all, and is no member's: see probepackets.go.
const (
	byteSealed byte = 0xF7
	bytePlain  byte = 0xF8
	byteEcho   byte = 0xF9

	markBytes    = 8
	sealedHeader = 1 + keyIDBytes + markBytes + 8
	plainHeader  = 1 + clusterHashBytes
	maxEnvelope  = sealedHeader + 1 + 16 // bytes around a message
)

// Kinds of messages. A receiver drops and counts what it does not know.
const (
	kindMembers byte = iota // a packet of memberlist
	kindFrame               // a frame of SendPacket
	kindBye                 // the member whose id follows leaves on purpose
)

// mark names a life in few bytes.
type mark [markBytes]byte

func markOf(id string) mark {
	sum := sha256.Sum256([]byte("sentinel-peer life\x00" + id))
	return mark(sum[:])
}

// maxWays bounds the members that envelopes are taken from, in one life of this process.
// Beyond it the one that was silent for longest is forgotten, and with it the window that
// keeps its envelopes from being replayed.
const maxWays = 1 << 16

// envelopes seals and opens the datagrams of one life. It is safe for concurrent use.
type envelopes struct {
	cluster [clusterHashBytes]byte
	self    mark

	outMu  sync.Mutex  // guards what follows
	first  []streamKey // the key that seals; none without keys
	out    map[string]*wayOut
	opened uint64 // ways towards others

	inMu  sync.Mutex // guards what follows
	keys  []streamKey
	in    map[mark]*wayIn
	taken uint64 // envelopes
}

// wayOut is the way towards one member.
type wayOut struct {
	aead cipher.AEAD
	last uint64 // the counter of the last envelope
}

// wayIn is the way from one member.
type wayIn struct {
	aeads  map[keyID]cipher.AEAD
	window window
	taken  uint64 // the number of its last envelope among all
}

func newEnvelopes(me *identity) *envelopes {
	e := &envelopes{cluster: me.clusterHash, self: markOf(me.id), in: make(map[mark]*wayIn)}
	e.setKeys(*me.keys.Load())
	return e
}

// setKeys has the first of keys seal from now on, and all of them open.
func (e *envelopes) setKeys(keys []streamKey) {
	e.inMu.Lock()
	e.keys = keys
	for _, w := range e.in {
		clear(w.aeads)
	}
	e.inMu.Unlock()
	e.outMu.Lock()
	e.first, e.out = keys[:min(1, len(keys))], make(map[string]*wayOut)
	e.outMu.Unlock()
}

// forget lets go of the ciphers of a member that is long gone. Its window stays, so that
// nothing of it can be replayed.
func (e *envelopes) forget(id string) {
	e.inMu.Lock()
	if w := e.in[markOf(id)]; w != nil {
		w.aeads = nil
	}
	e.inMu.Unlock()
	e.outMu.Lock()
	delete(e.out, id)
	e.outMu.Unlock()
}

// pair makes the cipher of the way between two lives.
func (k streamKey) pair(from, to mark) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.packets, append(from[:], to[:]...), "sentinel-peer pair v1", 32)
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
	if len(e.first) == 0 {
		e.outMu.Unlock()
		dst = append(append(dst, bytePlain), e.cluster[:]...)
		return append(append(dst, kind), message...), nil
	}
	key := &e.first[0]
	w := e.out[id]
	if w == nil {
		aead, err := key.pair(e.self, markOf(id))
		if err != nil {
			e.outMu.Unlock()
			return nil, err
		}
		if len(e.out) >= maxWays {
			clear(e.out)
		}
		e.opened++
		w = &wayOut{aead: aead, last: e.opened << 40}
		e.out[id] = w
	}
	w.last++
	counter := w.last
	e.outMu.Unlock()

	start := len(dst)
	dst = append(append(append(dst, byteSealed), key.id[:]...), e.self[:]...)
	dst = binary.BigEndian.AppendUint64(dst, counter)
	plain := append(append(dst, kind), message...)[len(dst):]
	return w.aead.Seal(dst, nonce(counter), plain, dst[start:]), nil
}

func nonce(counter uint64) []byte {
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], counter)
	return n[:]
}

// letter is what an envelope held.
type letter struct {
	kind   byte
	from   mark // of a sealed one
	sealed bool
	body   []byte
}

// signed reports whether it is from the member id, as far as that can be known.
func (l letter) signed(id string) bool { return !l.sealed || l.from == markOf(id) }

// open returns what an envelope holds, in memory of its own; or why it is dropped, which
// is causes if it is not.
func (e *envelopes) open(b []byte) (l letter, why cause) {
	e.inMu.Lock()
	defer e.inMu.Unlock()
	switch {
	case len(b) > 0 && b[0] == byteSealed && len(b) >= maxEnvelope:
		return e.unseal(b)
	case len(b) <= plainHeader || b[0] != bytePlain:
		return l, refuseMalformed
	case [clusterHashBytes]byte(b[1:]) != e.cluster:
		return l, refuseCluster
	case len(e.keys) > 0:
		return l, refuseKey
	}
	return letter{kind: b[plainHeader], body: slices.Clone(b[plainHeader+1:])}, causes
}

func (e *envelopes) unseal(b []byte) (l letter, why cause) {
	header := b[:sealedHeader]
	id, from := keyID(header[1:]), mark(header[1+keyIDBytes:])
	counter := binary.BigEndian.Uint64(header[sealedHeader-8:])
	w := e.in[from]
	if w != nil && !w.window.fresh(counter) {
		return l, dropReplayed
	}
	aead, err := e.cipher(w, id, from)
	if err != nil {
		return l, refuseKey
	}
	plain, err := aead.Open(nil, nonce(counter), b[sealedHeader:], header)
	if err != nil {
		return l, refuseSeal
	}
	if w == nil {
		w = new(wayIn)
		e.remember(from, w)
	}
	if w.aeads == nil {
		w.aeads = make(map[keyID]cipher.AEAD, 1)
	}
	e.taken++
	w.aeads[id], w.taken = aead, e.taken
	w.window.take(counter)
	return letter{plain[0], from, true, plain[1:]}, causes
}

// cipher returns the cipher of the way from a member, which a stranger's envelope has made
// anew: nothing is kept for strangers.
func (e *envelopes) cipher(w *wayIn, id keyID, from mark) (cipher.AEAD, error) {
	if w != nil && w.aeads[id] != nil {
		return w.aeads[id], nil
	}
	i := slices.IndexFunc(e.keys, func(k streamKey) bool { return k.id == id })
	if i < 0 {
		return nil, errNoKey
	}
	return e.keys[i].pair(from, e.self)
}

func (e *envelopes) remember(from mark, w *wayIn) {
	if len(e.in) >= maxWays {
		var oldest mark
		least := e.taken + 1
		for m, old := range e.in {
			if old.taken < least {
				oldest, least = m, old.taken
			}
		}
		delete(e.in, oldest)
	}
	e.in[from] = w
}

// windowSize is how far a counter may lie behind the greatest one that was taken.
const windowSize = 1024

// window remembers which of the last windowSize counters were taken.
type window struct {
	greatest uint64
	bits     [windowSize / 64]uint64 // of counter c: bit c%windowSize
}

// fresh reports whether take would take a counter.
func (w *window) fresh(c uint64) bool {
	switch {
	case c > w.greatest:
		return true
	case w.greatest-c >= windowSize:
		return false
	}
	return w.bits[c%windowSize/64]&(1<<(c%64)) == 0
}

// take notes a counter, and reports whether it was fresh.
func (w *window) take(c uint64) bool {
	if !w.fresh(c) {
		return false
	}
	if c > w.greatest {
		if c-w.greatest >= windowSize {
			w.bits = [windowSize / 64]uint64{}
		} else {
			for g := w.greatest + 1; g < c; g++ {
				w.bits[g%windowSize/64] &^= 1 << (g % 64)
			}
		}
		w.greatest = c
	}
	w.bits[c%windowSize/64] |= 1 << (c % 64)
	return true
}
