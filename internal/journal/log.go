package journal

import (
	"errors"
	"io"
	"slices"
	"sync"
)

// Level is what a flush waits for.
type Level int

const (
	Written Level = iota // the system has the frame: it survives the end of this process
	Synced               // the disk has the frame: it survives a loss of power
)

// Log is an open journal. It is safe for concurrent use: Append never waits for the disk, and all
// other methods do.
type Log struct {
	fs   FS
	o    Options
	held io.Closer // the lock of the folder

	saving   sync.Mutex // held by whoever writes or removes snapshots; before flushing
	flushing sync.Mutex // held by whoever writes frames; before mu
	segment  *writer    // nil before the first flush and after a failure
	claimed  uint64     // the latest claim in the segment
	packed   []byte

	mu     sync.Mutex
	closed bool
	err    error // of the latest flush
	life   uint64
	start  uint64 // the first frame of this life
	number uint64 // of the newest file

	// Frames are numbered from 1. kept <= written <= last. The queue has the frames after kept.
	last    uint64 // the latest append
	written uint64
	synced  uint64 // what the syncs of this life cover
	durable uint64 // all frames up to here are on the disk: the next claim
	kept    uint64
	hole    uint64 // if not 0, durable stands still until a snapshot stands for this frame
	queue   []entry
	queued  int // bytes in the queue
	waiting int // of them, bytes that are not written

	segments, snapshots, damaged []*stored // in the order of their numbers
}

// entry is a frame in memory.
type entry struct {
	number uint64
	body   []byte
}

// Append adds a frame of sections, which it copies, and returns its number. The frame is in memory
// until a flush. Without sections Append adds nothing and returns the number of the last frame.
// It returns ErrTooLarge, ErrClosed, or a BacklogError that has the failure of the disk, if
// any; the log is unchanged then.
func (l *Log) Append(sections ...[]byte) (uint64, error) {
	size := joined(sections...)
	if size > MaxFrame {
		return 0, ErrTooLarge
	}
	body := join(make([]byte, 0, size), sections...)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return 0, ErrClosed
	case l.waiting > 0 && l.waiting+size > l.o.Backlog:
		return 0, &BacklogError{l.waiting, l.err}
	case size == 0:
		return l.last, nil
	}
	l.last++
	l.queue = append(l.queue, entry{l.last, body})
	l.queued += size
	l.waiting += size
	return l.last, nil
}

// Flush returns once all frames up to that number have reached the level. Of concurrent calls one
// writes, and syncs, for all. It returns a DiskError if that failed, after which the next call
// writes to a new file, or ErrSnapshotNeeded.
func (l *Log) Flush(number uint64, level Level) error {
	if l.reached(number, level) {
		return nil
	}
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if l.reached(number, level) {
		return nil
	}
	return l.flush(level)
}

func (l *Log) reached(number uint64, level Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == Synced {
		return l.durable >= number
	}
	return max(l.written, l.durable) >= number
}

// flush writes all that waits.
func (l *Log) flush(level Level) error {
	l.mu.Lock()
	batch := l.queue
	for len(batch) > 0 && batch[0].number <= l.written {
		batch = batch[1:]
	}
	last, closed := l.last, l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	err := l.write(batch)
	if err == nil && level == Synced && l.segment != nil {
		if err = l.segment.sync(); err == nil {
			l.advance(last)
		}
	}
	if err != nil {
		l.abandon(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = nil
	l.written = last
	for _, e := range batch {
		l.waiting -= len(e.body)
	}
	if l.segment != nil {
		l.segment.last = last
	}
	l.dropUpTo(min(l.durable, l.synced))
	l.trim(l.o.Backlog)
	if level == Synced && l.durable < last {
		return ErrSnapshotNeeded
	}
	return nil
}

// advance notes that all frames up to synced are on the disk, as far as this life has written them.
func (l *Log) advance(synced uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = max(l.synced, synced)
	if l.hole == 0 {
		l.durable = max(l.durable, l.synced)
	}
}

// abandon leaves the segment that has failed. All frames that no sync covers are written anew.
func (l *Log) abandon(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segment != nil {
		l.segment.file.Close()
		l.segment.last = l.last // or less
		l.segment = nil
	}
	l.err = err
	l.dropUpTo(min(l.durable, l.synced))
	l.written, l.waiting = l.kept, l.queued
	if l.kept > l.durable {
		l.hole = l.kept
	}
}

// drop takes the first n entries from the queue.
func (l *Log) drop(n int) {
	for i, e := range l.queue[:n] {
		l.queued -= len(e.body)
		l.kept = e.number
		l.queue[i] = entry{}
	}
	l.queue = l.queue[n:]
}

// dropUpTo drops the entries up to that number.
func (l *Log) dropUpTo(number uint64) {
	n := 0
	for n < len(l.queue) && l.queue[n].number <= number {
		n++
	}
	l.drop(n)
}

// trim drops entries that are written until the queue has at most that many bytes.
func (l *Log) trim(bytes int) {
	n := 0
	for over := l.queued - bytes; n < len(l.queue) && over > 0 && l.queue[n].number <= l.written; n++ {
		over -= len(l.queue[n].body)
	}
	l.drop(n)
}

const packedBytes = 1 << 20 // of frames that are written at once

// write writes frames to the segment, and to new segments once it is full.
func (l *Log) write(batch []entry) error {
	l.packed = l.packed[:0]
	for _, e := range batch {
		if w := l.segment; w != nil && w.at+int64(len(l.packed)+frameHeader+len(e.body)+cipherBytes) > w.size {
			if err := l.seal(e.number - 1); err != nil {
				return err
			}
		}
		if l.segment == nil {
			if err := l.begin(e); err != nil {
				return err
			}
		}
		l.pack(frame{number: e.number, body: e.body})
		if len(l.packed) >= packedBytes {
			if err := l.unpack(); err != nil {
				return err
			}
		}
	}
	return l.unpack()
}

// pack puts a frame with the current claim into the buffer.
func (l *Log) pack(x frame) {
	l.mu.Lock()
	x.claim = l.durable
	l.mu.Unlock()
	l.claimed = x.claim
	l.packed = l.segment.form.append(l.packed, l.segment.at+int64(len(l.packed)), x)
}

// unpack writes the buffer.
func (l *Log) unpack() error {
	if len(l.packed) == 0 {
		return nil
	}
	defer func() { l.packed = l.packed[:0] }()
	return l.segment.write(l.packed)
}

// begin makes a segment that begins with e.
func (l *Log) begin(e entry) error {
	size := max(l.o.SegmentBytes, headerBytes+frameHeader+int64(len(e.body)+cipherBytes))
	w, err := l.create(segmentKind, segmentKind, size, e.number)
	if err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		w.discard(l.fs)
		return err
	}
	if err := l.fs.Sync(); err != nil {
		w.discard(l.fs)
		return failed("sync", "", err)
	}
	l.segment, l.claimed = w, w.durable
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, &w.stored)
	return nil
}

// seal ends the segment, whose last frame has that number.
func (l *Log) seal(last uint64) error {
	if err := l.unpack(); err != nil {
		return err
	}
	if err := l.segment.end(); err != nil {
		return err
	}
	l.mu.Lock()
	l.segment.last, l.segment.bytes = last, l.segment.at
	l.mu.Unlock()
	l.segment = nil
	l.advance(last)
	return nil
}

// Claim writes down what is on the disk, if the latest frame does not say so, without waiting for a
// sync. An owner calls it when nothing has been appended for a while.
func (l *Log) Claim() error {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.mu.Lock()
	idle, last := l.written == l.last && l.segment != nil && l.claimed < l.durable, l.last
	l.mu.Unlock()
	if !idle {
		return nil
	}
	l.packed = l.packed[:0]
	l.pack(frame{number: last})
	err := l.unpack()
	if err != nil {
		l.abandon(err)
	}
	return err
}

// Close makes all frames durable and releases the folder, also if it returns an error.
func (l *Log) Close() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	last := l.Stats().Last
	err := errors.Join(l.Flush(last, Synced), l.Claim())
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if l.segment != nil {
		if e := l.seal(last); e != nil {
			l.abandon(e)
			err = errors.Join(err, e)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.closed = true
	return errors.Join(err, l.held.Close())
}

// Stats are the figures of a log.
type Stats struct {
	Last, Written, Synced uint64 // frames
	Waiting               int    // bytes that are not written yet
	Snapshot              uint64 // the last frame that the newest snapshot stands for, 0 without one
	Fresh                 int64  // bytes of the segments that have later frames
	Disk                  int64  // bytes of all files, with the space that is set aside
	SnapshotNeeded        bool   // nothing counts as synced before the next snapshot
	Err                   error  // of the latest flush
}

// Stats returns the figures of the log. It never waits for the disk.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Last: l.last, Written: max(l.written, l.durable), Synced: l.durable, Waiting: l.waiting, SnapshotNeeded: l.hole > 0, Err: l.err}
	if n := len(l.snapshots); n > 0 {
		s.Snapshot = l.snapshots[n-1].first
	}
	for _, f := range slices.Concat(l.segments, l.snapshots, l.damaged) {
		s.Disk += f.bytes
	}
	for _, f := range l.segments {
		if f.last > s.Snapshot {
			s.Fresh += f.bytes
		}
	}
	return s
}
