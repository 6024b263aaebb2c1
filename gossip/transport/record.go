package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/flynn/noise"
)

// After the handshake a peer stream is a sequence of records, one direction
// only. A record is a piece of a frame:
//
//	1 B flags (bit 0: bulk lane, bit 1: last piece, bit 2: lock lane), 3 B length, the piece
//
// The receiver assembles the frames of each lane separately, so that an urgent frame can go
// between two records of a bulk frame: it waits for 64 KiB at most, and not for 8 MiB.
// With a key the records travel in noise messages; as many as fit share one,
// so a burst of small frames costs one seal and one system call.
const (
	recordHeader = 4
	flagBulk     = 1 << 0
	flagLast     = 1 << 1
	flagLocks    = 1 << 2

	maxBatch  = maxSealed // bytes of records written at once
	maxRecord = maxBatch - recordHeader
)

// lane is one of the queues of a stream. Frames of a lower lane are sent first.
type lane uint8

const (
	locks lane = iota // messages of SendLock, which go to Config.Locks
	urgent
	bulk
	lanes
)

var laneFlags = [lanes]byte{locks: flagLocks, urgent: 0, bulk: flagBulk}

// batch gathers records until they are written in one go.
type batch struct {
	buf    []byte
	sealed []byte
	frames int // number of frames whose last piece is in buf
	bytes  int // total length of those frames
}

// room returns how many bytes of a frame still fit.
func (b *batch) room() int { return maxBatch - len(b.buf) - recordHeader }

func (b *batch) add(l lane, piece []byte, last bool) {
	head := uint32(len(piece)) | uint32(laneFlags[l])<<24
	if last {
		head |= flagLast << 24
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, head)
	b.buf = append(b.buf, piece...)
}

func (b *batch) flush(w io.Writer, cs *noise.CipherState) error {
	out := b.buf
	if cs != nil {
		var err error
		if b.sealed, err = seal(cs, b.sealed[:0], b.buf); err != nil {
			return err
		}
		out = b.sealed
	}
	_, err := w.Write(out)
	return err
}

func (b *batch) reset() { b.buf, b.frames, b.bytes = b.buf[:0], 0, 0 }

// readRecords assembles frames and delivers them until r ends. The memory of a frame is at most twice
// what has arrived of it, plus one record (I4). A frame belongs to deliver.
func readRecords(r *bufio.Reader, limit int, deliver func(lane, []byte)) error {
	var parts [lanes][]byte
	malformed := func(format string, args ...any) error {
		return &refusal{why: refuseMalformed, local: true, detail: fmt.Sprintf(format, args...)}
	}
	for {
		var head [recordHeader]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		flags := head[0]
		size := int(binary.BigEndian.Uint32(head[:]) & 0xFFFFFF)
		l := slices.Index(laneFlags[:], flags&^flagLast)
		if l < 0 {
			return malformed("a record with flags %#x", flags)
		}
		if size == 0 || size > maxRecord {
			return malformed("a record of %d bytes; allowed are 1 to %d", size, maxRecord)
		}
		part := &parts[l]
		had := len(*part)
		if had+size > limit {
			return malformed("a frame of over %d bytes", limit)
		}
		if had+size > cap(*part) {
			*part = slices.Grow(*part, max(size, cap(*part))) // doubling copies every byte about once
		}
		*part = (*part)[:had+size]
		if _, err := io.ReadFull(r, (*part)[had:]); err != nil {
			return err
		}
		if flags&flagLast != 0 {
			deliver(lane(l), *part)
			*part = nil
		}
	}
}
