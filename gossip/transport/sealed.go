package transport

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/flynn/noise"
)

// maxSealed is the most plain text in one noise message.
const maxSealed = noise.MaxMsgLen - 16

// seal appends to dst one noise message holding plain: a 2 byte length and the
// cipher text.
func seal(cs *noise.CipherState, dst, plain []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(plain)+16))
	return cs.Encrypt(dst, nil, plain)
}

// opener reads the plain text of a sealed stream.
type opener struct {
	r    io.Reader
	cs   *noise.CipherState
	buf  []byte // the message being read; at most 64 KiB, grown by what peers really send
	rest []byte // its plain text not read yet
}

func (o *opener) Read(p []byte) (int, error) {
	for len(o.rest) == 0 {
		var n [2]byte
		if _, err := io.ReadFull(o.r, n[:]); err != nil {
			return 0, err
		}
		size := int(binary.BigEndian.Uint16(n[:]))
		if size > cap(o.buf) {
			o.buf = make([]byte, size)
		}
		o.buf = o.buf[:size]
		if _, err := io.ReadFull(o.r, o.buf); err != nil {
			return 0, err
		}
		var err error
		if o.rest, err = o.cs.Decrypt(o.buf[:0], nil, o.buf); err != nil {
			return 0, fmt.Errorf("opening a sealed message: %w", err)
		}
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}
