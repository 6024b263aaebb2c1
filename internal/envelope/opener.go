package envelope

import (
	"crypto/cipher"
	"encoding/binary"
)

// Verdict says whether an envelope is accepted, or why not.
type Verdict uint8

// The verdicts.
const (
	Taken      Verdict = iota // the envelope is accepted
	Malformed                 // the bytes are no envelope
	Replayed                  // the counter was used before, or is windowSize or more behind the greatest
	UnknownKey                // the receiver has no key of that name
	BadSeal                   // the envelope was sealed for or by another life, or was changed
)

// Letter is the content of an envelope.
type Letter struct {
	Kind byte
	From Mark
	Body []byte
}

// Opener opens the datagrams for one life.
type Opener struct {
	self  Mark
	keys  []Key
	ways  map[Mark]*wayIn
	taken uint64 // number of envelopes accepted
}

// wayIn is a way from one member.
type wayIn struct {
	ciphers []cipher.AEAD // ciphers[i] belongs to Opener.keys[i]; nil until it is used
	window  window
	taken   uint64 // value of Opener.taken at its last envelope
}

// NewOpener returns the Opener of the life with the id self, which accepts envelopes under any of
// keys.
func NewOpener(self string, keys []Key) *Opener {
	return &Opener{self: MarkOf(self), keys: keys, ways: make(map[Mark]*wayIn)}
}

// SetKeys replaces the keys. Envelopes that were accepted under the old keys stay accepted: the
// windows are kept, so that a key which comes back allows no replay.
func (o *Opener) SetKeys(keys []Key) {
	o.keys = keys
	for _, w := range o.ways {
		w.ciphers = nil
	}
}

// Forget frees the ciphers of a member that is long gone. Its window stays, so that none of its
// envelopes can be replayed.
func (o *Opener) Forget(id string) {
	if w := o.ways[MarkOf(id)]; w != nil {
		w.ciphers = nil
	}
}

// Open appends the message of an envelope to dst and returns it as Body. It does not keep b. An
// envelope that is not accepted changes nothing, so a stranger costs no memory.
func (o *Opener) Open(dst, b []byte) (l Letter, v Verdict) {
	if len(b) < Overhead || b[0]&^MaxKind != Sealed {
		return l, Malformed
	}
	header := b[:headerBytes]
	from := Mark(header[2:])
	counter := binary.BigEndian.Uint64(header[headerBytes-8:]) & (1<<(8*counterBytes) - 1)
	w := o.ways[from]
	if w != nil && !w.window.fresh(counter) {
		return l, Replayed
	}
	v = UnknownKey
	for i, k := range o.keys {
		if k.Name != header[1] {
			continue
		}
		v = BadSeal
		aead, err := o.cipher(w, from, i)
		if err != nil {
			continue
		}
		body, err := aead.Open(dst, header[nonceAt:], b[headerBytes:], header)
		if err != nil {
			continue
		}
		o.take(w, from, i, aead, counter)
		return Letter{b[0] & MaxKind, from, body}, Taken
	}
	return l, v
}

// cipher returns the cipher of the way from a member under the i-th key.
func (o *Opener) cipher(w *wayIn, from Mark, i int) (cipher.AEAD, error) {
	if w != nil && w.ciphers != nil && w.ciphers[i] != nil {
		return w.ciphers[i], nil
	}
	return o.keys[i].way(from, o.self)
}

// take notes an envelope that was accepted.
func (o *Opener) take(w *wayIn, from Mark, i int, aead cipher.AEAD, counter uint64) {
	if w == nil {
		w = new(wayIn)
		o.remember(from, w)
	}
	if w.ciphers == nil {
		w.ciphers = make([]cipher.AEAD, len(o.keys))
	}
	o.taken++
	w.ciphers[i], w.taken = aead, o.taken
	w.window.take(counter)
}

// remember keeps a new way. If there are MaxWays already it drops the one that was silent for
// longest.
func (o *Opener) remember(from Mark, w *wayIn) {
	if len(o.ways) >= MaxWays {
		var oldest Mark
		least := o.taken + 1
		for m, old := range o.ways {
			if old.taken < least {
				oldest, least = m, old.taken
			}
		}
		delete(o.ways, oldest)
	}
	o.ways[from] = w
}
