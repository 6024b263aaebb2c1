package journal

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Options are the settings of a log. The zero value is ready to use.
type Options struct {
	SegmentBytes int64 // of a segment; 64 MiB if 0
	Backlog      int   // bytes of frames kept in memory until a sync covers them, and of frames that wait to be written; 16 MiB if 0
	// Keys encrypt the files. The first key is for new files, and all of them open old ones. Without
	// keys new files are plain. Plain files are read whatever the keys.
	Keys []Key
	// Random gives the salts of the files; crypto/rand.Reader if nil. One goroutine at a time reads
	// it. A source that repeats itself breaks the encryption.
	Random io.Reader
}

// Record is a part of what Open reads. Its bytes are valid until the callback returns.
type Record struct {
	Frame    uint64 // its number, 0 for a chunk of the snapshot
	Sections iter.Seq[[]byte]
	// AfterGap says that frames before this one are missing which were there when this one was
	// written. A summary of what its writer had seen may count them.
	AfterGap bool
}

// Report says what Open has found.
type Report struct {
	Snapshot uint64 // the last frame that the snapshot stands for, 0 if there is none
	Frames   uint64 // how many were read
	Last     uint64 // the number of the last frame, also if it is in a gap
	Unproven uint64 // how many frames at the end no claim covers, so that the disk may not have them yet
	Gaps     []Gap
	Damaged  []string // snapshots that are not whole, and files without a readable header
	Unread   int64    // bytes that are no frames: the end that was cut off, and what the gaps name
}

// Open takes the folder, calls read for all that is in it, and returns the log, ready for appends. If
// read fails, so does Open, with that error. An Open that fails changes nothing in the folder.
// Its errors are ErrInUse, VersionError, KeyError, or DiskError.
func Open(fs FS, o Options, read func(Record) error) (*Log, Report, error) {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<20)
	o.Backlog = cmp.Or(o.Backlog, 16<<20)
	if o.Random == nil {
		o.Random = rand.Reader
	}
	held, err := fs.Lock()
	if err != nil {
		return nil, Report{}, failed("lock", "", err)
	}
	l := &Log{fs: fs, o: o, held: held}
	report, err := l.load(read)
	if err != nil {
		held.Close()
		return nil, report, err
	}
	return l, report, nil
}

// load reads the folder.
func (l *Log) load(read func(Record) error) (report Report, err error) {
	stale, err := l.list()
	if err != nil {
		return report, err
	}
	if report.Snapshot, err = l.loadSnapshot(read); err != nil {
		return report, err
	}
	known := report.Snapshot
	all := slices.Concat(l.segments, l.snapshots, l.damaged)
	for _, s := range all {
		l.life = max(l.life, s.life)
		l.durable = max(l.durable, s.durable)
		known = max(known+1, s.start) - 1
		if s.kind == snapshotKind {
			l.durable = max(l.durable, s.first)
		}
	}
	var runs []run
	for _, s := range l.segments {
		more, claim, unread, err := l.scan(s)
		if err != nil {
			return report, err
		}
		runs = append(runs, more...)
		l.durable, report.Unread = max(l.durable, claim), report.Unread+unread
	}
	known = max(known, l.durable)
	pieces, gaps := plan(clip(runs, all), report.Snapshot, known)
	report.Gaps, l.last, l.kept = gaps, known, l.durable
	for _, p := range pieces {
		l.last = max(l.last, p.to)
		report.Frames += p.to - p.from + 1
	}
	for _, p := range pieces {
		if err := l.replay(p, gaps, read); err != nil {
			return report, err
		}
	}
	if n := len(gaps); n > 0 && gaps[n-1].To > l.kept {
		l.dropUpTo(gaps[n-1].To) // what is missing cannot be written anew
		l.kept = gaps[n-1].To
	}
	if l.kept > l.durable {
		l.hole = l.kept
	}
	l.written, l.waiting = l.kept, l.queued
	l.start, l.life = l.last+1, l.life+1
	report.Last, report.Unproven = l.last, l.last-l.durable
	for _, s := range l.damaged {
		report.Damaged = append(report.Damaged, s.name)
		s.last = l.last
	}
	for _, name := range stale {
		_ = l.fs.Remove(name) // a file that stays does no harm
	}
	return report, nil
}

// list reads the headers of all files. It returns the names of those that were being made when an
// earlier life ended.
func (l *Log) list() (stale []string, err error) {
	names, err := l.fs.List()
	if err != nil {
		return nil, failed("list", "", err)
	}
	slices.Sort(names) // which is the order of their numbers
	for _, name := range names {
		end := kind(path.Ext(name))
		number, err := strconv.ParseUint(strings.TrimSuffix(name, string(end)), 16, 64)
		if err != nil || number > maxNumber || name != fileName(number, end) {
			continue
		}
		l.number = max(l.number, number)
		if end == unfinished {
			stale = append(stale, name)
			continue
		}
		s := &stored{name: name, number: number}
		empty, err := l.readHeader(s)
		switch {
		case err != nil:
			return nil, err
		case s.kind == segmentKind && end == segmentKind:
			l.segments = append(l.segments, s)
		case s.kind == snapshotKind && end == snapshotKind:
			l.snapshots = append(l.snapshots, s)
		case empty && end == segmentKind:
			stale = append(stale, name) // a header is synced before there are frames
		default:
			l.damaged = append(l.damaged, s)
		}
	}
	return stale, nil
}

func fileName(number uint64, end kind) string { return fmt.Sprintf("%016x%s", number, end) }

// readHeader sets the header of a file, or leaves it zero if neither copy can be read. It reports
// whether anything comes after them.
func (l *Log) readHeader(s *stored) (empty bool, err error) {
	w, err := l.open(s)
	if err != nil {
		return false, err
	}
	defer w.f.Close()
	s.bytes = w.size
	for at := int64(0); at+pageBytes <= min(headerBytes, w.size); at += pageBytes {
		page, err := w.at(at, pageBytes)
		if err != nil {
			return false, err
		}
		h, version := parseHeader(page)
		if version > Version {
			return false, &VersionError{s.name, version}
		}
		if version == Version {
			s.header = h
			break
		}
	}
	var key *Key
	if s.key != (KeyID{}) {
		i := slices.IndexFunc(l.o.Keys, func(k Key) bool { return k.ID() == s.key })
		if i < 0 {
			return false, &KeyError{s.name, s.key}
		}
		key = &l.o.Keys[i]
	}
	s.form = s.header.form(key)
	end, err := w.end()
	return end <= headerBytes, err
}

// open opens a file for reading. The caller closes it.
func (l *Log) open(s *stored) (*window, error) {
	f, err := l.fs.Open(s.name)
	if err != nil {
		return nil, failed("open", s.name, err)
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, failed("open", s.name, err)
	}
	return &window{f: f, name: s.name, size: size}, nil
}

func (l *Log) scan(s *stored) (runs []run, claim uint64, unread int64, err error) {
	w, err := l.open(s)
	if err != nil {
		return nil, 0, 0, err
	}
	defer w.f.Close()
	return s.scan(w)
}

// replay reads the frames of a run, and keeps those that no claim covers.
func (l *Log) replay(p run, gaps []Gap, read func(Record) error) error {
	w, err := l.open(p.of)
	if err != nil {
		return err
	}
	defer w.f.Close()
	for at := p.at; ; {
		x, next, ok, err := p.of.form.read(w, at)
		if err != nil {
			return err
		}
		if !ok {
			return failed("read", p.of.name, fmt.Errorf("frame %d has changed since it was checked", x.number))
		}
		at = next
		if x.number < p.from || len(x.body) == 0 {
			continue
		}
		if err := read(Record{x.number, sections(x.body), len(gaps) > 0 && gaps[0].From < x.number}); err != nil {
			return err
		}
		if x.number > l.durable {
			l.queue = append(l.queue, entry{x.number, bytes.Clone(x.body)})
			l.queued += len(x.body)
			l.written = x.number
			l.trim(l.o.Backlog / 2)
		}
		if x.number == p.to {
			return nil
		}
	}
}
