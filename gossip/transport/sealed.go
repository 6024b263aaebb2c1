package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"

	"github.com/flynn/noise"
)

// maxSealed is the greatest length of the plain text in one Noise message.
const maxSealed = noise.MaxMsgLen - 16

// seal appends to dst one Noise message with plain in it: a length of 2 bytes and the cipher text.
func seal(cs *noise.CipherState, dst, plain []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(plain)+16))
	return cs.Encrypt(dst, nil, plain)
}

// opener reads the plain text of a sealed stream.
type opener struct {
	r    io.Reader
	cs   *noise.CipherState
	buf  []byte // the message that is being read, 64 KiB at most
	rest []byte // plain text of the message that Read has not returned yet
}

func (o *opener) Read(p []byte) (int, error) {
	if err := o.fill(); err != nil {
		return 0, err
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// fill opens the next message if the last one has been read to its end.
func (o *opener) fill() error {
	for len(o.rest) == 0 {
		var n [2]byte
		if _, err := io.ReadFull(o.r, n[:]); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint16(n[:]))
		if size > cap(o.buf) {
			o.buf = make([]byte, size)
		}
		o.buf = o.buf[:size]
		if _, err := io.ReadFull(o.r, o.buf); err != nil {
			return err
		}
		var err error
		if o.rest, err = o.cs.Decrypt(o.buf[:0], nil, o.buf); err != nil {
			return refuse(refuseSeal, "opening a sealed message: %v", err)
		}
	}
	return nil
}

// exchange is a connection of memberlist that is sealed in both directions.
type exchange struct {
	*muxConn
	read   io.Reader
	send   *noise.CipherState
	sealed []byte
}

// newExchange returns the connection itself if its session is in plain text.
func newExchange(c *muxConn, s session) net.Conn {
	if s.send == nil {
		return c
	}
	return &exchange{muxConn: c, read: &opener{r: bufio.NewReader(c), cs: s.recv}, send: s.send}
}

func (e *exchange) Read(p []byte) (int, error) { return e.read.Read(p) }

func (e *exchange) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, maxSealed) {
		if e.sealed, err = seal(e.send, e.sealed[:0], part); err != nil {
			return n, err
		}
		if _, err = e.muxConn.Write(e.sealed); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}
