package journal

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"hash/crc32"
	"iter"
	"math/bits"
)

// MaxFrame is the greatest size of a frame's sections, with their lengths, in bytes.
const MaxFrame = 16 << 20

const (
	frameHeader = 32
	maxBody     = MaxFrame + 1<<16 // with what encryption adds, or compression to what cannot be compressed
)

var mark = [4]byte{0xF7, 's', 'p', 0xA9}

// frame is a frame that was read. Its body is valid until the next one is read.
type frame struct {
	number, claim uint64
	body          []byte // decrypted
}

// form is how the frames of one file are written and read.
type form struct {
	seed   uint32      // the CRC of the file's salt
	cipher cipher.AEAD // nil if the file is not encrypted
}

func (h header) form(key *Key) form {
	f := form{seed: crc32.Checksum(h.salt[:], castagnoli)}
	if key != nil {
		f.cipher = key.cipher(h.page(), h.salt[:])
	}
	return f
}

// nonce is the frame's place in the file: no place is written twice.
func nonce(at int64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 4, 12), uint64(at))
}

// headerSum returns the CRC of a frame's header, which covers its place.
func (f form) headerSum(b []byte, at int64) uint32 {
	sum := crc32.Update(f.seed, castagnoli, binary.LittleEndian.AppendUint64(make([]byte, 0, 8), uint64(at)))
	return crc32.Update(sum, castagnoli, b[8:frameHeader])
}

// append appends the frame that stands at that place of the file to b.
func (f form) append(b []byte, at int64, x frame) []byte {
	from := len(b)
	b = append(b, make([]byte, frameHeader)...)
	le := binary.LittleEndian
	le.PutUint64(b[from+16:], x.number)
	le.PutUint64(b[from+24:], x.claim)
	if f.cipher == nil {
		b = append(b, x.body...)
	} else {
		b = f.cipher.Seal(b, nonce(at), x.body, b[from+16:from+frameHeader])
	}
	head, body := b[from:from+frameHeader], b[from+frameHeader:]
	copy(head, mark[:])
	le.PutUint32(head[8:], uint32(len(body)))
	le.PutUint32(head[12:], crc32.Update(f.seed, castagnoli, body))
	le.PutUint32(head[4:], f.headerSum(head, at))
	return b
}

// read reads the frame at that place. If there is no whole frame, ok is false. The search for the next
// one goes on at next; next is 0 if no frame begins here, and the next place is unknown.
func (f form) read(w *window, at int64) (x frame, next int64, ok bool, err error) {
	head, err := w.at(at, frameHeader)
	if err != nil {
		return x, 0, false, err
	}
	le := binary.LittleEndian
	n := int64(le.Uint32(head[8:]))
	if !bytes.HasPrefix(head, mark[:]) || le.Uint32(head[4:]) != f.headerSum(head, at) || n > maxBody || at+frameHeader+n > w.size {
		return x, 0, false, nil
	}
	next = at + frameHeader + n
	raw, err := w.at(at, frameHeader+int(n))
	if err != nil {
		return x, next, false, err
	}
	head, body := raw[:frameHeader], raw[frameHeader:]
	x.number, x.claim = le.Uint64(head[16:]), le.Uint64(head[24:])
	if max(x.number, x.claim) > maxNumber || crc32.Update(f.seed, castagnoli, body) != le.Uint32(head[12:]) {
		return x, next, false, nil
	}
	if f.cipher != nil {
		if body, err = f.cipher.Open(w.plain[:0], nonce(at), body, head[16:]); err != nil {
			return x, next, false, nil
		}
		w.plain = body
	}
	x.body = body
	return x, next, true, nil
}

// window reads a file through a buffer, forwards in the main.
type window struct {
	f    File
	name string
	size int64
	from int64
	buf  []byte

	plain []byte // the last body that was decrypted
}

const windowBytes = 256 << 10

// at returns n bytes of the file, which are valid until the next call. They must be within its size.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.from || off+int64(n) > w.from+int64(len(w.buf)) {
		size := int(min(int64(max(n, windowBytes)), w.size-off))
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		w.from, w.buf = off, w.buf[:size]
		if got, err := w.f.ReadAt(w.buf, off); got < size {
			w.buf = w.buf[:0]
			return nil, failed("read", w.name, err)
		}
	}
	return w.buf[off-w.from:][:n], nil
}

// seek returns the next place from off on at which the mark of a frame stands, or the file's size.
func (w *window) seek(off int64) (int64, error) {
	for off+frameHeader <= w.size {
		n := w.from + int64(len(w.buf)) - off // what has been read already
		if off < w.from || n < frameHeader {
			n = min(windowBytes, w.size-off)
		}
		b, err := w.at(off, int(n))
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, mark[:]); i >= 0 {
			return off + int64(i), nil
		}
		off += int64(len(b) - len(mark) + 1)
	}
	return w.size, nil
}

// end returns the place after the last byte that is not zero.
func (w *window) end() (int64, error) {
	for end := w.size; end > 0; {
		from := max(end-windowBytes, 0)
		b, err := w.at(from, int(end-from))
		if err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			return from + int64(n), nil
		}
		end = from
	}
	return 0, nil
}

// join appends sections to b: the length of each as a varint, then its bytes.
func join(b []byte, sections ...[]byte) []byte {
	for _, s := range sections {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

// joined returns how many bytes join appends for sections.
func joined(sections ...[]byte) (n int) {
	for _, s := range sections {
		n += len(s) + (bits.Len64(uint64(len(s))|1)+6)/7
	}
	return n
}

// sections yields the sections that join made b of, which alias b. It ends with the first that is none.
func sections(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := b; len(rest) > 0; {
			n, size := binary.Uvarint(rest)
			if size <= 0 || n > uint64(len(rest)-size) {
				return
			}
			section := rest[size : size+int(n)]
			if rest = rest[size+int(n):]; !yield(section) {
				return
			}
		}
	}
}

// whole reports whether join made b.
func whole(b []byte) bool {
	n := 0
	for s := range sections(b) {
		n += joined(s)
	}
	return n == len(b)
}
