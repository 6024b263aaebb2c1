package journal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
)

// Version is the format that this program writes, and the newest that it reads.
const Version = 1

const (
	maxNumber   = 1 << 62 // of a frame, a life or a file
	pageBytes   = 4096    // of each copy of the header
	headerBytes = 2 * pageBytes
	saltBytes   = 32
)

// kind is what a file is, which is also the end of its name.
type kind string

const (
	segmentKind  kind = ".seg"
	snapshotKind kind = ".snap"
	unfinished   kind = ".tmp" // a snapshot that is being written
)

// header is the first page of a file.
type header struct {
	kind    kind
	life    uint64 // of the writer: one more than the greatest that it found
	start   uint64 // the first frame of that life; it had read all before that could be read
	first   uint64 // the first frame of a segment; the last frame that a snapshot stands for
	durable uint64 // the claim when the file was made
	key     KeyID  // zero if the file is not encrypted
	salt    [saltBytes]byte
}

// KeyID names a key without telling anything of it.
type KeyID [8]byte

// Key is a secret of 32 B.
type Key [32]byte

// ID returns the key's name, which is in the header of each file that it encrypts.
func (k Key) ID() (id KeyID) {
	copy(id[:], k.derive(nil, "sentinel-peer journal key id", len(id)))
	return id
}

func (k Key) derive(salt []byte, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, k[:], salt, info, n)
	if err != nil {
		panic(err) // only for an n beyond 8,160
	}
	return out
}

// cipher returns the cipher of one file. Its key covers the whole header, so that no header can be
// exchanged for another one, and the salt, so that a copied folder repeats no nonce.
func (k Key) cipher(page []byte, salt []byte) cipher.AEAD {
	block, err := aes.NewCipher(k.derive(salt, "sentinel-peer journal file "+string(page), 32))
	if err != nil {
		panic(err) // only for a wrong length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for another block size
	}
	return aead
}

var (
	magic      = []byte("sp-journ")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// The page of a header: 8 B magic, 4 B version, 4 B CRC of both, which all versions share; then 8 B
// kind, life, start, first and durable in 8 B each, 8 B id of the key, 32 B salt, 4 B CRC.
const sharedBytes, coveredBytes = 16, 16 + 8 + 4*8 + 8 + saltBytes

func (h header) page() []byte {
	b := append(make([]byte, 0, pageBytes), magic...)
	b = binary.LittleEndian.AppendUint32(b, Version)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(b, make([]byte, 8)...)
	copy(b[sharedBytes:], h.kind)
	for _, n := range []uint64{h.life, h.start, h.first, h.durable} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(append(b, h.key[:]...), h.salt[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:pageBytes]
}

// parseHeader reads a page. It returns the version of a page that another program wrote, and 0 for
// damage. All other results are of this version.
func parseHeader(page []byte) (h header, version uint32) {
	le := binary.LittleEndian
	if len(page) < pageBytes || !bytes.HasPrefix(page, magic) || le.Uint32(page[12:]) != crc32.Checksum(page[:12], castagnoli) {
		return h, 0
	}
	if version = le.Uint32(page[8:]); version != Version {
		return h, version
	}
	if start := le.Uint64(page[sharedBytes+16:]); start == 0 || le.Uint32(page[coveredBytes:]) != crc32.Checksum(page[:coveredBytes], castagnoli) {
		return h, 0
	}
	h.kind = kind(bytes.TrimRight(page[sharedBytes:sharedBytes+8], "\x00"))
	for i, n := range []*uint64{&h.life, &h.start, &h.first, &h.durable} {
		if *n = le.Uint64(page[sharedBytes+8+8*i:]); *n > maxNumber {
			return header{}, 0
		}
	}
	at := sharedBytes + 8 + 4*8
	copy(h.key[:], page[at:])
	copy(h.salt[:], page[at+len(h.key):])
	return h, version
}
