package lockservice

import "encoding/binary"

// texts returns texts that came before as the same memory again. The latest of those
// that share a place has it.
type texts [2048]string

func (t *texts) of(b []byte) string {
	var tail [16]byte // names of one kind differ in their ends
	copy(tail[max(0, 16-len(b)):], b[max(0, len(b)-16):])
	h := mix(mix(binary.LittleEndian.Uint64(tail[:])^uint64(len(b))) ^ binary.LittleEndian.Uint64(tail[8:]))
	s := &t[h%uint64(len(t))]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}
