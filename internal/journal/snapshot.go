package journal

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// chunkBytes is how many bytes of sections are compressed at once. A larger section is a chunk of its
// own.
const chunkBytes = 1 << 20

// Snapshot writes a snapshot: write passes the sections that stand for all that was appended before
// the call, each with add, which copies them. What is appended meanwhile may be in them or not. One
// snapshot is written at a time, beside flushes and appends, in at most a few MiB of memory
// while no section is larger than 1 MiB. If Snapshot fails, the log is as before; its errors are
// those of write, ErrTooLarge, ErrClosed, or a DiskError. Without error all frames from before the call count as synced.
func (l *Log) Snapshot(write func(add func(section []byte) error) error) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	last, closed := l.last, l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	w, err := l.create(snapshotKind, unfinished, 0, last)
	if err != nil {
		return err
	}
	s := saver{writer: w, sum: sha256.New()}
	if err := s.save(write); err != nil {
		w.discard(l.fs)
		return err
	}
	name := fileName(w.number, snapshotKind)
	if err := l.fs.Rename(w.name, name); err != nil {
		w.discard(l.fs)
		return failed("rename", w.name, err)
	}
	w.name, w.bytes = name, w.at
	if err := l.fs.Sync(); err != nil {
		w.discard(l.fs)
		return failed("sync", "", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshots = append(l.snapshots, &w.stored)
	if l.hole <= last {
		l.hole = 0
		l.durable = max(l.durable, l.synced)
	}
	l.durable = max(l.durable, last)
	return nil
}

// saver writes a snapshot: chunks as frames from 1 on, then a frame with a claim, whose body is the
// SHA-256 of the header's page and the chunks' frames.
type saver struct {
	*writer
	sum    hash.Hash
	pack   *zstd.Encoder
	chunk  []byte // sections that are not written yet
	small  []byte // the chunk, compressed
	packed []byte
	chunks uint64
}

func (s *saver) save(write func(add func(section []byte) error) error) (err error) {
	// Without a writer the encoder starts no goroutine.
	if s.pack, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true)); err != nil {
		return err
	}
	s.sum.Write(s.page())
	if err := write(s.add); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.chunks++
	if err := s.put(frame{number: s.chunks, claim: s.chunks, body: s.sum.Sum(nil)}); err != nil {
		return err
	}
	return s.end()
}

func (s *saver) add(section []byte) error {
	n := joined(section)
	if n > MaxFrame {
		return ErrTooLarge
	}
	if len(s.chunk) > 0 && len(s.chunk)+n > chunkBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.chunk = join(s.chunk, section)
	return nil
}

// flush writes the chunk.
func (s *saver) flush() error {
	if len(s.chunk) == 0 {
		return nil
	}
	s.chunks++
	s.small = s.pack.EncodeAll(s.chunk, s.small[:0])
	s.chunk = s.chunk[:0]
	return s.put(frame{number: s.chunks, body: s.small})
}

func (s *saver) put(x frame) error {
	s.packed = s.form.append(s.packed[:0], s.at, x)
	s.sum.Write(s.packed)
	return s.write(s.packed)
}

// loadSnapshot reads the newest snapshot that is whole, and returns the last frame that it stands for,
// 0 if there is none.
func (l *Log) loadSnapshot(read func(Record) error) (uint64, error) {
	for n := len(l.snapshots); n > 0; n = len(l.snapshots) {
		s := l.snapshots[n-1]
		whole, err := l.readSnapshot(s, read)
		if err != nil {
			return 0, err
		}
		if whole {
			return s.first, nil
		}
		l.damaged, l.snapshots = append(l.damaged, s), l.snapshots[:n-1]
	}
	return 0, nil
}

// readSnapshot reads a snapshot, if it is whole.
func (l *Log) readSnapshot(s *stored, read func(Record) error) (whole bool, err error) {
	w, err := l.open(s)
	if err != nil {
		return false, err
	}
	defer w.f.Close()
	chunks, whole, err := s.verify(w)
	if err != nil || !whole {
		return false, err
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxFrame), zstd.WithDecoderLowmem(true))
	if err != nil {
		return false, err
	}
	defer unpack.Close()
	at, chunk := int64(headerBytes), []byte(nil)
	for n := uint64(1); n <= chunks; n++ {
		x, next, ok, err := s.form.read(w, at)
		if err != nil {
			return false, err
		}
		if chunk, err = unpack.DecodeAll(x.body, chunk[:0]); err != nil || !ok {
			return false, failed("read", s.name, fmt.Errorf("chunk %d has changed since it was checked: %w", n, err))
		}
		if err := read(Record{Sections: sections(chunk)}); err != nil {
			return false, err
		}
		at = next
	}
	return true, nil
}

// verify returns how many chunks a snapshot has, and whether it is whole.
func (s *stored) verify(w *window) (chunks uint64, whole bool, err error) {
	sum := sha256.New()
	sum.Write(s.page())
	for at := int64(headerBytes); at+frameHeader <= w.size; chunks++ {
		x, next, ok, err := s.form.read(w, at)
		if err != nil || !ok || x.number != chunks+1 {
			return 0, false, err
		}
		if x.claim != 0 {
			return chunks, next == w.size && bytes.Equal(x.body, sum.Sum(nil)), nil
		}
		raw, err := w.at(at, int(next-at))
		if err != nil {
			return 0, false, err
		}
		sum.Write(raw)
		at = next
	}
	return 0, false, nil
}

// Prune removes the snapshots that are older than the two newest, and the segments whose frames are
// all before keep and in the older of the two. It returns how many files it has removed.
// The first failure ends it, as a DiskError.
func (l *Log) Prune(keep uint64) (removed int, err error) {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	for _, s := range l.prunable(keep) {
		if err := l.fs.Remove(s.name); err != nil {
			return removed, failed("remove", s.name, err)
		}
		removed++
		l.forget(s)
	}
	return removed, nil
}

func (l *Log) prunable(keep uint64) (files []*stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.snapshots)
	if n < 2 {
		return nil
	}
	base := l.snapshots[n-2].first
	files = append(files, l.snapshots[:n-2]...)
	for _, s := range slices.Concat(l.segments, l.damaged) {
		if current := l.segment != nil && s == &l.segment.stored; !current && s.last <= base && s.last < keep {
			files = append(files, s)
		}
	}
	return files
}

// forget takes a file that was removed from the lists.
func (l *Log) forget(s *stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range []*[]*stored{&l.segments, &l.snapshots, &l.damaged} {
		*list = slices.DeleteFunc(*list, func(f *stored) bool { return f == s })
	}
}
