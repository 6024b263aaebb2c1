package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

// world is a journal on the model file system beside a list of what the journal was told and has
// promised. Each append is an item, and the memory of the process is a list of items.
type world struct {
	t       testing.TB
	fs      *modelfs.FS
	o       journal.Options
	log     *journal.Log
	items   []uint64 // in memory, in the order of their arrival
	at      []uint64 // their frames' numbers, 0 for what came with a snapshot
	next    uint64
	synced  map[uint64]bool // items that are promised to survive a loss of power
	written map[uint64]bool // items that are promised to survive the end of the process
	doubt   bool            // a sync has failed, or an earlier life wrote what nobody has synced
	fault   string          // the operation that fails next
	report  journal.Report
	trace   []string
	made    map[uint64][][]byte // by item
}

var errDisk = syscall.EIO

func newWorld(t testing.TB, o journal.Options) *world {
	w := &world{t: t, fs: modelfs.New(), o: o, synced: map[uint64]bool{}, written: map[uint64]bool{}, made: map[uint64][][]byte{}}
	w.fs.Before = func(op, name string) error {
		if w.fault == op {
			w.fault = ""
			w.doubt = true
			return errDisk
		}
		return nil
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	for _, s := range w.trace {
		w.t.Log(s)
	}
	w.t.Fatalf(format, args...)
}

// item returns the sections of an item, which its number determines.
func (w *world) item(n uint64) [][]byte {
	if sections := w.made[n]; sections != nil {
		return sections
	}
	r := rand.New(rand.NewPCG(n, 7))
	sections := [][]byte{binary.LittleEndian.AppendUint64(nil, n)}
	for range r.IntN(3) {
		b := random(r.IntN(1 + r.IntN(3000)))
		sections = append(sections, b)
	}
	w.made[n] = sections
	return sections
}

// itemOf returns the item that has these sections.
func (w *world) itemOf(r journal.Record) uint64 {
	w.t.Helper()
	var got [][]byte
	for s := range r.Sections {
		got = append(got, bytes.Clone(s))
	}
	if len(got) == 0 || len(got[0]) != 8 {
		w.fatal("frame %d has other sections than were written: %x", r.Frame, got)
	}
	n := binary.LittleEndian.Uint64(got[0])
	if n > w.next || !slices.EqualFunc(got, w.item(n), bytes.Equal) {
		w.fatal("frame %d is not what was written", r.Frame)
	}
	return n
}

// open starts a life: it reads the folder and compares it with the memory of the life before, of which
// the items in promised must be there.
func (w *world) open(promised map[uint64]bool) {
	w.t.Helper()
	var items, at []uint64
	marked := map[uint64]bool{} // frames that were read after a gap
	log, report, err := journal.Open(w.fs, w.o, func(r journal.Record) error {
		if r.Frame == 0 {
			for s := range r.Sections {
				items, at = append(items, binary.LittleEndian.Uint64(s)), append(at, 0)
			}
			return nil
		}
		n := w.itemOf(r)
		if !slices.Contains(items, n) {
			items, at = append(items, n), append(at, r.Frame)
		}
		marked[n] = r.AfterGap
		return nil
	})
	w.note("open: %d items, %+v, %v", len(items), report, err)
	if err != nil {
		w.fatal("open: %v", err)
	}
	missing := false
	for i, n := range w.items {
		switch j := slices.Index(items, n); {
		case j < 0 && promised[n]:
			w.fatal("item %d, in frame %d, is lost", n, w.at[i])
		case j < 0:
			missing = true
		case missing && at[j] != 0 && !marked[n]:
			w.fatal("item %d, in frame %d, comes after a gap and is not marked", n, at[j])
		}
	}
	for i := 1; i < len(items); i++ {
		if items[i] <= items[i-1] {
			w.fatal("item %d comes after item %d", items[i], items[i-1])
		}
	}
	if len(report.Gaps)+len(report.Damaged) > 0 && !w.doubt {
		w.fatal("gaps %v, damaged %v", report.Gaps, report.Damaged)
	}
	w.log, w.report, w.items, w.at = log, report, items, at
	for _, m := range []map[uint64]bool{w.synced, w.written} {
		for n := range m {
			if !slices.Contains(items, n) {
				delete(m, n) // it was allowed to be lost, and is not promised any longer
			}
		}
	}
	if report.Unproven > 0 {
		w.doubt = true // the power may take what this life has read
	}
}

// check fails the test for an error that no fault explains.
func (w *world) check(err error) {
	w.t.Helper()
	var disk *journal.DiskError
	var behind *journal.BacklogError
	if err != nil && !errors.As(err, &disk) && !errors.As(err, &behind) && !errors.Is(err, journal.ErrSnapshotNeeded) {
		w.fatal("%v", err)
	}
}

func (w *world) append() {
	w.t.Helper()
	n := w.next + 1
	number, err := w.log.Append(w.item(n)...)
	w.note("append %d: frame %d, %v", n, number, err)
	if w.check(err); err == nil {
		w.next = n
		w.items, w.at = append(w.items, n), append(w.at, number)
	}
}

// promise notes that all items in memory are promised.
func (w *world) promise(maps ...map[uint64]bool) {
	for _, m := range maps {
		for _, n := range w.items {
			m[n] = true
		}
	}
}

func (w *world) flush(level journal.Level) {
	w.t.Helper()
	err := w.log.Flush(w.log.Stats().Last, level)
	w.note("flush %d: %v", level, err)
	switch w.check(err); {
	case err == nil && level == journal.Synced:
		w.promise(w.synced, w.written)
	case err == nil:
		w.promise(w.written)
	}
}

// snapshot writes a snapshot, with a few appends meanwhile.
func (w *world) snapshot(meanwhile int) {
	w.t.Helper()
	before := len(w.items)
	err := w.log.Snapshot(func(add func([]byte) error) error {
		for range meanwhile {
			w.append()
		}
		for _, n := range w.items {
			if err := add(binary.LittleEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
		}
		return nil
	})
	w.note("snapshot: %v", err)
	if w.check(err); err == nil {
		for _, n := range w.items[:before] {
			w.synced[n], w.written[n] = true, true
		}
	}
}

// kill ends the process, and starts the next life.
func (w *world) kill() {
	w.t.Helper()
	w.note("kill")
	w.fs.Kill()
	w.open(w.written)
}

// power switches the power off and on, and starts the next life.
func (w *world) power(survives func() bool) {
	w.t.Helper()
	w.note("power")
	w.fs.On(survives)
	w.written = map[uint64]bool{}
	w.open(w.synced)
	w.promise(w.written) // the system has what was read
}
