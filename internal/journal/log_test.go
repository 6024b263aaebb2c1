package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

func nothing(journal.Record) error { return nil }

func random(n int) []byte {
	b := make([]byte, n)
	seeded(3).Read(b)
	return b
}

// The real file system keeps what it is given, in every size of section.
func TestAFolderKeepsWhatItIsGiven(t *testing.T) {
	dir := journal.Dir(filepath.Join(t.TempDir(), "data"))
	o := journal.Options{SegmentBytes: 1 << 20, Keys: []journal.Key{{1}}}
	var want [][]byte
	for life := range 3 {
		var got [][]byte
		log, report, err := journal.Open(dir, o, func(r journal.Record) error {
			for s := range r.Sections {
				got = append(got, bytes.Clone(s))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) || report.Unread > 0 || report.Unproven > 0 {
			t.Fatalf("life %d reads %d sections of %d: %+v", life, len(got), len(want), report)
		}
		for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1 << 20, 3 << 20, journal.MaxFrame - 20} {
			s := bytes.Repeat([]byte{byte(n), byte(life)}, n/2+1)[:n]
			want = append(want, s, []byte("and"))
			if _, err := log.Append(s, []byte("and")); err != nil {
				t.Fatal(n, err)
			}
			if err := log.Flush(log.Stats().Last, journal.Level(n%2)); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := journal.Open(dir, o, nothing); !errors.Is(err, journal.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("a second process: %v", err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFrameHasALargestSize(t *testing.T) {
	_, log := filled(t, journal.Options{}, 1)
	if _, err := log.Append(make([]byte, journal.MaxFrame)); !errors.Is(err, journal.ErrTooLarge) {
		t.Error(err)
	}
	if err := log.Snapshot(func(add func([]byte) error) error { return add(make([]byte, journal.MaxFrame)) }); !errors.Is(err, journal.ErrTooLarge) {
		t.Error(err)
	}
	if n, err := log.Append(); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// A newer format and a missing key are refused before anything is changed.
func TestWhatCannotBeReadIsNotTouched(t *testing.T) {
	o := journal.Options{Keys: []journal.Key{{1}}}
	fs, log := filled(t, o, 3)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	fs.Write("00000000000000aa.tmp", []byte("left"))
	untouched := func(want any, o journal.Options) {
		t.Helper()
		ops := fs.Ops()
		_, _, err := journal.Open(fs, o, func(journal.Record) error { t.Error("read something"); return nil })
		if err == nil || !errors.As(err, want) {
			t.Error(err)
		}
		if fs.Ops() != ops {
			t.Error("something was changed")
		}
	}
	var key *journal.KeyError
	untouched(&key, journal.Options{})
	untouched(&key, journal.Options{Keys: []journal.Key{{2}}})
	if key.ID != (journal.Key{1}).ID() {
		t.Errorf("%x", key.ID)
	}
	if got := look(t, fs.Copy(), journal.Options{Keys: []journal.Key{{2}, {1}}}); len(got.frames) != 3 {
		t.Errorf("%+v", got)
	}
	newer, err := os.ReadFile("testdata/newer.seg")
	if err != nil {
		t.Fatal(err)
	}
	fs.Write("00000000000000ab.seg", newer)
	var version *journal.VersionError
	untouched(&version, o)
	if version.Version != 2 || version.File != "00000000000000ab.seg" {
		t.Errorf("%+v", version)
	}
}

// With a key, files show neither the sections nor two equal frames, also those of a copied folder.
func TestEncryptedFilesShowNothing(t *testing.T) {
	o := journal.Options{SegmentBytes: 64 << 10, Keys: []journal.Key{{1}}}
	fs, log := filled(t, o, 20)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for range 2 { // two lives on two copies
		twin := fs.Copy()
		log, _, err := journal.Open(twin, o, nothing)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, log, 20)
		if err := log.Snapshot(func(add func([]byte) error) error { return add(bytes.Repeat([]byte{'x'}, 100)) }); err != nil {
			t.Fatal(err)
		}
		names, _ := twin.List()
		for _, name := range names {
			b := twin.Read(name)
			if bytes.Contains(b, []byte("xxxxxxxx")) {
				t.Errorf("%s shows a section", name)
			}
			for at := firstFrame; at+16 <= len(b); at += 16 {
				part := string(b[at : at+16])
				if where, ok := seen[part]; ok && len(fs.Read(name)) == 0 && strings.Count(part, "\x00") < 4 { // but for numbers
					t.Fatalf("%s shows at %d what %s shows", name, at, where)
				}
				seen[part] = name
			}
		}
	}
}

// A full disk refuses appends once the backlog is full, loses nothing, and is over when there is space.
func TestAFullDiskLosesNothing(t *testing.T) {
	o := journal.Options{SegmentBytes: 32 << 10, Backlog: 16 << 10}
	fs, log := filled(t, o, 10)
	fs.Space = 40 << 10
	var promised uint64
	var full error
	for full == nil {
		n, err := log.Append(make([]byte, 1000))
		if full = err; err != nil {
			break
		}
		if err := log.Flush(n, journal.Synced); err == nil {
			promised = n
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	var behind *journal.BacklogError
	if !errors.As(full, &behind) || !errors.Is(full, syscall.ENOSPC) || promised < 20 {
		t.Errorf("%v after %d", full, promised)
	}
	if s := log.Stats(); s.Synced != promised || s.Waiting == 0 || !errors.Is(s.Err, syscall.ENOSPC) {
		t.Errorf("%+v", s)
	}
	if err := log.Snapshot(func(add func([]byte) error) error { return add(random(64 << 10)) }); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	last := log.Stats().Last
	fs.Space = 0
	if err := log.Flush(last, journal.Synced); err != nil {
		t.Fatal(err)
	}
	fs.On(func() bool { return false })
	if got := look(t, fs, o); got.report.Last != last || uint64(len(got.frames)) < last-promised {
		t.Errorf("%+v", got.report)
	}
}

// After a failure, frames that are in memory no longer wait for a snapshot.
func TestWhatLeftMemoryWaitsForASnapshot(t *testing.T) {
	fs, log := filled(t, journal.Options{Backlog: 4000, SegmentBytes: 64 << 10}, 1)
	flush := func(level journal.Level) error {
		n, err := log.Append(make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		return log.Flush(n, level)
	}
	for range 10 {
		if err := flush(journal.Written); err != nil {
			t.Fatal(err)
		}
	}
	fs.Before = func(op, _ string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	}
	var disk *journal.DiskError
	if err := flush(journal.Synced); !errors.As(err, &disk) || disk.Op != "sync" || disk.File != segments(fs)[0] || !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	fs.Before = nil
	if err := log.Flush(log.Stats().Last, journal.Written); err != nil {
		t.Error(err)
	}
	if err := flush(journal.Synced); !errors.Is(err, journal.ErrSnapshotNeeded) || !log.Stats().SnapshotNeeded {
		t.Error(err)
	}
	if err := log.Snapshot(func(add func([]byte) error) error { return add([]byte("all")) }); err != nil {
		t.Fatal(err)
	}
	if err := flush(journal.Synced); err != nil || log.Stats().SnapshotNeeded {
		t.Error(err)
	}
	fs.On(func() bool { return false })
	if got := look(t, fs, journal.Options{}); got.saved != 1 || !slices.Equal(got.frames, []uint64{14}) || len(got.report.Gaps) > 0 {
		t.Errorf("%+v", got)
	}
}

// After a sync that has failed, the next process reads pages that the disk does not have, and its syncs
// do not write them. It writes the frames anew, or waits for a snapshot if they are too many.
func TestTheNextLifeDoesNotTrustTheSystemsMemory(t *testing.T) {
	for _, backlog := range []int{64 << 10, 4000} {
		o := journal.Options{Backlog: backlog, SegmentBytes: 64 << 10}
		fs, log := filled(t, o, 1)
		for range 10 {
			if n, err := log.Append(make([]byte, 1000)); err != nil || log.Flush(n, journal.Written) != nil {
				t.Fatal(n, err)
			}
		}
		fs.Before = func(op, _ string) error {
			if op == "sync" {
				return syscall.EIO
			}
			return nil
		}
		if n, err := log.Append([]byte("x")); err != nil || !errors.Is(log.Flush(n, journal.Synced), syscall.EIO) {
			t.Fatal(n, err)
		}
		fs.Before = nil
		fs.Kill()
		log, report, err := journal.Open(fs, o, nothing)
		if err != nil || report.Last != 12 || report.Unproven != 11 {
			t.Fatalf("%+v, %v", report, err)
		}
		n, err := log.Append([]byte("x"))
		if err == nil {
			err = log.Flush(n, journal.Synced)
		}
		if few := backlog > 11_000; few != (err == nil) || !few && !errors.Is(err, journal.ErrSnapshotNeeded) {
			t.Errorf("with a backlog of %d: %v", backlog, err)
		}
		if err != nil {
			continue
		}
		fs.On(func() bool { return false })
		if got := look(t, fs, o); len(got.frames) != 13 || len(got.report.Gaps) > 0 {
			t.Errorf("%+v", got.report)
		}
	}
}

// A disk that hangs in a sync stops neither appends nor figures, and nothing counts as synced meanwhile.
func TestAStalledDiskStopsNoAppend(t *testing.T) {
	fs, log := filled(t, journal.Options{Backlog: 4000}, 1)
	hangs, goOn := make(chan bool), make(chan bool)
	fs.Before = func(op, _ string) error {
		if op == "sync" {
			hangs <- true
			<-goOn
		}
		return nil
	}
	n, err := log.Append(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := log.Flush(n, journal.Synced); err != nil {
			t.Error(err)
		}
	})
	<-hangs
	for range 30 {
		if n, err = log.Append(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if s := log.Stats(); s.Last != 32 || s.Synced != 1 {
		t.Errorf("%+v", s)
	}
	var behind *journal.BacklogError
	for err == nil {
		_, err = log.Append(make([]byte, 100))
	}
	if !errors.As(err, &behind) || behind.Err != nil {
		t.Error(err)
	}
	close(goOn)
	done.Go(func() { <-hangs })
	if err := log.Flush(n, journal.Synced); err != nil {
		t.Error(err)
	}
	done.Wait()
}

// Callers that wait at the same time share a sync.
func TestCallersShareASync(t *testing.T) {
	fs, log := filled(t, journal.Options{}, 1)
	const callers = 32
	syncs := 0
	fs.Before = func(op, _ string) error {
		if op == "sync" {
			syncs++
			for log.Stats().Last < 1+callers { // the first sync lasts until all have appended
				runtime.Gosched()
			}
		}
		return nil
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			n, err := log.Append([]byte("x"))
			if err == nil {
				err = log.Flush(n, journal.Synced)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s := log.Stats(); s.Synced != 1+callers || syncs > 2 {
		t.Errorf("%+v after %d syncs", s, syncs)
	}
}

// A read-only file system fails each flush, and reading goes on.
func TestAReadOnlyFolderIsRead(t *testing.T) {
	fs, log := filled(t, journal.Options{}, 5)
	fs.Before = func(string, string) error { return syscall.EROFS }
	if n, err := log.Append([]byte("x")); err != nil || !errors.Is(log.Flush(n, journal.Written), syscall.EROFS) {
		t.Error(n, err)
	}
	if err := log.Close(); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	if _, err := log.Append([]byte("x")); !errors.Is(err, journal.ErrClosed) {
		t.Error(err)
	}
	if _, report, err := journal.Open(fs, journal.Options{}, nothing); err != nil || report.Frames != 5 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A snapshot of any size is written and read in the memory of a few chunks.
func TestASnapshotStreams(t *testing.T) {
	dir := journal.Dir(t.TempDir())
	log, _, err := journal.Open(dir, journal.Options{}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	const sections, size = 1000, 50_000
	section := random(size)
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) >> 20
	}
	if n := allocated(func() {
		err = log.Snapshot(func(add func([]byte) error) error {
			for i := range sections {
				section[i]++
				if err := add(section); err != nil {
					return err
				}
			}
			return nil
		})
	}); err != nil || n > 16 {
		t.Errorf("%d MiB for writing, %v", n, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	read := 0
	if n := allocated(func() {
		log, _, err = journal.Open(dir, journal.Options{}, func(r journal.Record) error {
			for s := range r.Sections {
				read += len(s)
			}
			return nil
		})
	}); err != nil || n > 16 || read != sections*size {
		t.Errorf("%d MiB for reading %d B, %v", n, read, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// counted counts the bytes that are read.
type counted struct {
	*modelfs.FS
	read *int
}

func (c counted) Open(name string) (journal.File, error) {
	f, err := c.FS.Open(name)
	return countedFile{f, c.read}, err
}

type countedFile struct {
	journal.File
	read *int
}

func (f countedFile) ReadAt(b []byte, at int64) (int, error) {
	*f.read += len(b)
	return f.File.ReadAt(b, at)
}

// Segments of large values that look like frames are searched in time that does not grow with their
// square, in bounded memory, and give no frame.
func TestValuesThatLookLikeFramesAreNone(t *testing.T) {
	fs, log := filled(t, journal.Options{SegmentBytes: 40 << 20}, 3)
	name := segments(fs)[0]
	frame := fs.Read(name)[firstFrame : firstFrame+frameBytes]
	hostile := bytes.Repeat(frame, journal.MaxFrame/frameBytes-1)
	for range 2 {
		n, err := log.Append(hostile)
		if err == nil {
			err = log.Flush(n, journal.Synced)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(t, log, 2)
	fs.Flip(name, 8*(firstFrame+3*frameBytes+9))
	read := new(int)
	got := look(t, counted{fs.Copy(), read}, journal.Options{})
	if size := len(fs.Read(name)); *read > 4*size {
		t.Errorf("read %d bytes of a file of %d", *read, size)
	}
	if !slices.Equal(got.report.Gaps, []journal.Gap{{4, 4}}) || !slices.Equal(got.frames, []uint64{1, 2, 3, 5, 6, 7}) || got.report.Unread < int64(len(hostile)) {
		t.Errorf("%+v, frames %v", got.report, got.frames)
	}
}
