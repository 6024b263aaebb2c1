package journal_test

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

// found is what an Open has read.
type found struct {
	frames []uint64 // their numbers
	marked []uint64 // those after a gap
	saved  int      // sections of the snapshot
	report journal.Report
}

func look(t *testing.T, fs journal.FS, o journal.Options) found {
	t.Helper()
	var got found
	log, report, err := journal.Open(fs, o, func(r journal.Record) error {
		if r.Frame == 0 {
			for range r.Sections {
				got.saved++
			}
			return nil
		}
		got.frames = append(got.frames, r.Frame)
		if r.AfterGap {
			got.marked = append(got.marked, r.Frame)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got.report = report
	if err := log.Close(); err != nil && !errors.Is(err, journal.ErrSnapshotNeeded) {
		t.Fatal(err)
	}
	return got
}

// filled returns a folder of n synced frames of 100 B, and the log, which is open.
func filled(t *testing.T, o journal.Options, n int) (*modelfs.FS, *journal.Log) {
	t.Helper()
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<10)
	fs := modelfs.New()
	log, _, err := journal.Open(fs, o, func(journal.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	fill(t, log, n)
	return fs, log
}

func fill(t *testing.T, log *journal.Log, n int) {
	t.Helper()
	for range n {
		number, err := log.Append(bytes.Repeat([]byte{'x'}, 100))
		if err == nil {
			err = log.Flush(number, journal.Synced)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The places of frames of 100 B in a segment.
const (
	firstFrame = 8192
	frameBytes = 32 + 1 + 100
)

func segments(fs *modelfs.FS) (names []string) {
	all, _ := fs.List()
	for _, n := range all {
		if strings.HasSuffix(n, ".seg") {
			names = append(names, n)
		}
	}
	return names
}

func upTo(n uint64) (list []uint64) {
	for i := range n {
		list = append(list, i+1)
	}
	return list
}

// Damage to what a claim covers is a gap, and what comes after it is read, and marked.
func TestDamageIsToldFromACutEnd(t *testing.T) {
	for name, c := range map[string]struct {
		harm   func(b []byte)
		gaps   []journal.Gap
		frames []uint64
	}{
		"nothing":         {func([]byte) {}, nil, upTo(10)},
		"a body":          {func(b []byte) { b[firstFrame+4*frameBytes+50] ^= 4 }, []journal.Gap{{5, 5}}, []uint64{1, 2, 3, 4, 6, 7, 8, 9, 10}},
		"a length":        {func(b []byte) { b[firstFrame+4*frameBytes+9] ^= 4 }, []journal.Gap{{5, 5}}, []uint64{1, 2, 3, 4, 6, 7, 8, 9, 10}},
		"a mark":          {func(b []byte) { b[firstFrame+4*frameBytes] ^= 4 }, []journal.Gap{{5, 5}}, []uint64{1, 2, 3, 4, 6, 7, 8, 9, 10}},
		"three":           {func(b []byte) { clear(b[firstFrame+frameBytes+9 : firstFrame+4*frameBytes-9]) }, []journal.Gap{{2, 4}}, []uint64{1, 5, 6, 7, 8, 9, 10}},
		"two places":      {func(b []byte) { b[firstFrame+2*frameBytes]++; b[firstFrame+7*frameBytes]++ }, []journal.Gap{{3, 3}, {8, 8}}, []uint64{1, 2, 4, 5, 6, 7, 9, 10}},
		"the first":       {func(b []byte) { b[firstFrame+40]++ }, []journal.Gap{{1, 1}}, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10}},
		"the end":         {func(b []byte) { b[firstFrame+9*frameBytes+60]++ }, nil, upTo(9)},
		"one header":      {func(b []byte) { b[40]++ }, nil, upTo(10)},
		"the other":       {func(b []byte) { b[4096+40]++ }, nil, upTo(10)},
		"a cut":           {func(b []byte) { clear(b[firstFrame+9*frameBytes+60:]) }, nil, upTo(9)},
		"a moved frame":   {func(b []byte) { copy(b[firstFrame+10*frameBytes:], b[firstFrame:firstFrame+frameBytes]) }, nil, upTo(10)},
		"a cut and waste": {func(b []byte) { clear(b[firstFrame+9*frameBytes+60:]); b[20000] = 7 }, nil, upTo(9)},
	} {
		for _, keys := range [][]journal.Key{nil, {{9}}} {
			o := journal.Options{SegmentBytes: 64 << 10, Random: seeded(1), Keys: keys}
			if keys != nil && !strings.HasPrefix(name, "one") && !strings.HasPrefix(name, "the other") && name != "nothing" {
				continue // the places are others
			}
			fs, _ := filled(t, o, 10)
			b := fs.Read(segments(fs)[0])
			c.harm(b)
			to := modelfs.New()
			to.Write(segments(fs)[0], b)
			got := look(t, to, o)
			if !slices.Equal(got.frames, c.frames) || !slices.Equal(got.report.Gaps, c.gaps) || len(got.report.Damaged) > 0 {
				t.Errorf("%s: read %v, %+v", name, got.frames, got.report)
			}
			if c.gaps != nil && !slices.Equal(got.marked, c.frames[slices.Index(c.frames, c.gaps[0].To+1):]) {
				t.Errorf("%s: the frames %v come after a gap", name, got.marked)
			}
			if whole := slices.Equal(c.frames, upTo(10)) && name != "a moved frame"; whole != (got.report.Unread == 0) {
				t.Errorf("%s: %d bytes were not read", name, got.report.Unread)
			}
		}
	}
}

// A claim while the log is idle, or a clean end, covers the last frames too.
func TestAClaimCoversTheLastFrames(t *testing.T) {
	o := journal.Options{SegmentBytes: 64 << 10, Random: seeded(1)}
	for _, end := range []func(*journal.Log) error{(*journal.Log).Claim, (*journal.Log).Close} {
		fs, log := filled(t, o, 10)
		if err := end(log); err != nil {
			t.Fatal(err)
		}
		to := fs.Copy()
		to.Flip(segments(to)[0], 8*(firstFrame+9*frameBytes+60))
		if got := look(t, to, o); !slices.Equal(got.report.Gaps, []journal.Gap{{10, 10}}) || got.report.Last != 10 {
			t.Errorf("read %v, %+v", got.frames, got.report)
		}
	}
}

// A segment that is missing, or has no header left, is damage.
func TestASegmentThatIsLostIsDamage(t *testing.T) {
	o := journal.Options{SegmentBytes: firstFrame + 4*frameBytes + 16, Random: seeded(1)}
	fs, _ := filled(t, o, 10) // in segments of 4, 4 and 2 frames
	names := segments(fs)
	if len(names) != 3 {
		t.Fatal(names)
	}
	missing := fs.Copy()
	if err := missing.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	gap := []journal.Gap{{5, 8}}
	if got := look(t, missing, o); !slices.Equal(got.report.Gaps, gap) || !slices.Equal(got.marked, []uint64{9, 10}) {
		t.Errorf("%+v, marked %v", got.report, got.marked)
	}
	for i, name := range names {
		headless := fs.Copy()
		headless.Write(name, append(make([]byte, firstFrame), headless.Read(name)[firstFrame:]...))
		got := look(t, headless, o)
		if !slices.Equal(got.report.Damaged, []string{name}) || len(got.report.Gaps) == 0 && i < 2 {
			t.Errorf("without the header of %s: %+v", name, got.report)
		}
	}
	begun := fs.Copy()
	begun.Write("00000000000000ff.seg", make([]byte, 64<<10)) // made as the power failed
	if got := look(t, begun, o); len(got.report.Damaged)+len(got.report.Gaps) > 0 || len(got.frames) != 10 {
		t.Errorf("%+v", got.report)
	}
	if slices.Contains(segments(begun), "00000000000000ff.seg") {
		t.Error("the empty file stays")
	}
}

// A later life uses the numbers of frames that it did not find. What is left of them is not read again.
func TestALaterLifeUsesNumbersAgain(t *testing.T) {
	o := journal.Options{SegmentBytes: 64 << 10, Random: seeded(1)}
	fs, log := filled(t, o, 2)
	for range 4 { // which no sync covers
		if n, err := log.Append([]byte("early")); err != nil || log.Flush(n, journal.Written) != nil {
			t.Fatal(n, err)
		}
	}
	fs.Flip(segments(fs)[0], 8*(firstFrame+2*frameBytes+5)) // as if a page was lost
	fs.Kill()
	log, report, err := journal.Open(fs, o, nothing)
	if err != nil || report.Last != 2 {
		t.Fatal(report, err)
	}
	fill(t, log, 2)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log, report, err = journal.Open(fs, o, func(r journal.Record) error {
		for s := range r.Sections {
			if string(s) == "early" {
				t.Errorf("frame %d is the one that was not found", r.Frame)
			}
		}
		return nil
	})
	if err != nil || report.Last != 4 || len(report.Gaps) > 0 {
		t.Error(report, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// Pruning leaves the segment that is being written, and the frames that the caller keeps.
func TestPruneLeavesWhatIsInUse(t *testing.T) {
	o := journal.Options{SegmentBytes: firstFrame + 4*frameBytes + 16, Random: seeded(1)}
	fs, log := filled(t, o, 10) // in segments of 4, 4 and 2 frames
	for range 2 {
		if err := log.Snapshot(func(add func([]byte) error) error { return add([]byte("ten")) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		keep    uint64
		removed int
	}{{0, 0}, {4, 0}, {5, 1}, {^uint64(0), 1}, {^uint64(0), 0}} {
		if n, err := log.Prune(c.keep); n != c.removed || err != nil {
			t.Errorf("from %d on: %d files removed, %v", c.keep, n, err)
		}
	}
	fill(t, log, 2)
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if got := look(t, fs, o); !slices.Equal(got.frames, []uint64{11, 12}) || len(got.report.Gaps) > 0 {
		t.Errorf("%+v, frames %v", got.report, got.frames)
	}
}

// If the newest snapshot is damaged, the one before and the longer log give the same.
func TestTheSnapshotBeforeReplacesADamagedOne(t *testing.T) {
	o := journal.Options{SegmentBytes: firstFrame + 4*frameBytes + 16, Random: seeded(1)}
	fs, log := filled(t, o, 6)
	snapshots := 0
	snapshot := func() {
		t.Helper()
		if err := log.Snapshot(func(add func([]byte) error) error {
			for range log.Stats().Last {
				if err := add(bytes.Repeat([]byte{'y'}, 3000)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		snapshots++
		if _, err := log.Prune(^uint64(0)); err != nil {
			t.Fatal(err)
		}
		fill(t, log, 6)
	}
	for range 4 {
		snapshot()
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	all, _ := fs.List()
	saves := slices.DeleteFunc(all, func(n string) bool { return !strings.HasSuffix(n, ".snap") })
	if len(saves) != 2 || len(segments(fs)) > 5 {
		t.Fatalf("%v, %v", saves, segments(fs))
	}
	if got := look(t, fs.Copy(), o); got.saved != 24 || got.frames[0] != 25 || got.report.Last != 30 || len(got.report.Damaged) > 0 {
		t.Errorf("%+v, %d saved, frames %v", got.report, got.saved, got.frames)
	}
	r := rand.New(rand.NewPCG(1, 1))
	size := len(fs.Read(saves[1]))
	for range 200 {
		bad := fs.Copy()
		bit := r.Int64N(int64(8 * size))
		bad.Flip(saves[1], bit)
		got := look(t, bad, o)
		if got.saved == 24 && bit/8 < firstFrame {
			continue // in one of the two headers
		}
		if got.saved != 18 || got.frames[0] != 19 || got.report.Last != 30 || !slices.Equal(got.report.Damaged, saves[1:]) || len(got.report.Gaps) > 0 {
			t.Fatalf("bit %d: %+v, %d saved, frames %v", bit, got.report, got.saved, got.frames)
		}
	}
	none := fs.Copy()
	none.Flip(saves[0], 8*firstFrame)
	none.Flip(saves[1], 8*firstFrame)
	if got := look(t, none, o); len(got.report.Damaged) != 2 || len(got.report.Gaps) == 0 || got.report.Gaps[0].From != 1 || got.saved != 0 {
		t.Errorf("%+v", got.report)
	}
}

// Whatever is damaged, no content that was not written is read, and what is missing is reported.
func TestRandomDamageIsReported(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, options(r, seed))
		w.open(nil)
		for range 1 + r.IntN(3) {
			for range 5 + r.IntN(20) {
				w.append()
				if r.IntN(3) == 0 {
					w.flush(journal.Synced)
				}
			}
			if r.IntN(2) == 0 {
				w.snapshot(0)
			}
			w.flush(journal.Synced)
			if err := w.log.Close(); err != nil {
				w.fatal("%v", err)
			}
			w.open(w.synced)
		}
		if err := w.log.Close(); err != nil {
			w.fatal("%v", err)
		}
		names, _ := w.fs.List()
		for range 1 + r.IntN(4) {
			name := names[r.IntN(len(names))]
			bit := r.Int64N(8 * int64(len(w.fs.Read(name))))
			w.fs.Flip(name, bit)
			w.note("flip bit %d of %s, in byte %d", bit, name, bit/8)
		}
		w.doubt = true
		before := len(w.items)
		w.open(nil)
		if lost := before - len(w.items); lost > 0 && len(w.report.Gaps)+len(w.report.Damaged) == 0 {
			w.fatal("%d items are lost without a word", lost)
		}
	}
}
