package envelope

import (
	"crypto/cipher"
	"encoding/binary"
)

// Verdict says whether an envelope is taken, or why not.
type Verdict uint8

// The verdicts.
const (
	Taken      Verdict = iota
	Malformed          // no envelope
	Replayed           // it came before, or long after those that were sent with it
	UnknownKey         // sealed with a key that the receiver does not have
	BadSeal            // sealed for or by another life, or changed on its way
)

// Letter is what an envelope held.
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
	taken uint64 // envelopes
}

// wayIn is the way from one member.
type wayIn struct {
	ciphers []cipher.AEAD // of the keys, nil until they are used
	window  window
	taken   uint64 // the number of its last envelope among all
}

// NewOpener returns what opens for the life with an id, under any of keys.
func NewOpener(self string, keys []Key) *Opener {
	return &Opener{self: MarkOf(self), keys: keys, ways: make(map[Mark]*wayIn)}
}

// SetKeys has other keys open from now on. What was taken under the old ones stays taken.
func (o *Opener) SetKeys(keys []Key) {
	o.keys = keys
	for _, w := range o.ways {
		w.ciphers = nil
	}
}

// Forget lets go of the ciphers of a member that is long gone. Its window stays, so that
// nothing of it can be replayed.
func (o *Opener) Forget(id string) {
	if w := o.ways[MarkOf(id)]; w != nil {
		w.ciphers = nil
	}
}

// Open returns what an envelope holds, appended to dst. It keeps nothing for strangers.
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

// cipher returns that of the way from a member under the i-th key.
func (o *Opener) cipher(w *wayIn, from Mark, i int) (cipher.AEAD, error) {
	if w != nil && w.ciphers != nil && w.ciphers[i] != nil {
		return w.ciphers[i], nil
	}
	return o.keys[i].way(from, o.self)
}

// take notes an envelope that opened.
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

// remember keeps a way, in the place of the one that was silent for longest if there are
// too many.
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
