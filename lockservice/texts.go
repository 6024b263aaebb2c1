package lockservice

import "encoding/binary"

// texts interns strings: one that came before costs no allocation. It is a hash table without
// chains, in which a new string replaces the one in its slot.
type texts [2048]string

func (t *texts) of(b []byte) string {
	var tail [16]byte // only the end is hashed, since generated names differ there
	copy(tail[max(0, 16-len(b)):], b[max(0, len(b)-16):])
	h := mix(mix(binary.LittleEndian.Uint64(tail[:])^uint64(len(b))) ^ binary.LittleEndian.Uint64(tail[8:]))
	s := &t[h%uint64(len(t))]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}
