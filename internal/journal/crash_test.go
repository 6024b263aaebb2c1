package journal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

// steps are short histories: a appends, w and s flush, S writes a snapshot, p prunes, c claims, x ends
// the life and starts the next one, k kills it.
var steps = []string{"asasx", "aawasaks", "aSaspx", "asSaSapx", "awkaSwp", "aaascakasx", "aaaaaaaawaaas", "aaaawaaaaSaaaawpk"}

// run takes the steps until the power fails.
func (w *world) run(steps string, failed *bool) {
	for _, step := range steps {
		if *failed {
			return
		}
		switch step {
		case 'a':
			w.append()
		case 'w':
			w.flush(journal.Written)
		case 's':
			w.flush(journal.Synced)
		case 'S':
			w.snapshot(1)
		case 'p':
			_, err := w.log.Prune(^uint64(0))
			w.check(err)
		case 'c':
			w.check(w.log.Claim())
		case 'k':
			w.kill()
		case 'x':
			if err := w.log.Close(); !*failed {
				w.check(err)
				w.promise(w.synced, w.written)
				w.open(w.written)
			}
		}
	}
}

// crash runs steps until the power fails at an operation, 0 for the first. It reports whether there was
// one. What is left is in w.fs.
func crash(t testing.TB, o journal.Options, steps string, at int) (w *world, failed bool) {
	w = newWorld(t, o)
	ops := 0
	w.fs.Before = func(string, string) error {
		if ops == at {
			failed = true
			w.fs.Off()
			return modelfs.ErrPower
		}
		ops++
		return nil
	}
	w.open(nil)
	w.run(steps, &failed)
	w.note("the power fails at operation %d", at)
	w.fs.Before = func(string, string) error { return nil }
	return w, failed
}

// The power fails at every operation of short histories. Every subset of what was not synced survives, or
// many subsets if there are too many. The next life works, and its power fails at any time too.
func TestThePowerFailsAtEveryOperation(t *testing.T) {
	const most = 64
	subsets := 0
	for i, s := range steps {
		for _, keys := range [][]journal.Key{nil, {{1}}} {
			o := func() journal.Options {
				return journal.Options{SegmentBytes: []int64{10 << 10, 28 << 10}[i%2], Random: seeded(uint64(i)), Keys: keys}
			}
			for at, more := 0, true; more; at++ {
				r := rand.New(rand.NewPCG(uint64(i), uint64(at)))
				for subset, all := 0, 1; subset < all; subset++ {
					w, failed := crash(t, o(), s, at)
					more = failed
					asked := 0
					w.power(func() bool {
						asked++
						if all == most {
							return r.IntN(2) == 0
						}
						return subset>>(asked-1)&1 == 1
					})
					all = min(1<<min(asked, 30), most)
					subsets++
					w.after(r)
				}
			}
		}
	}
	if subsets < 700 {
		t.Errorf("only %d subsets", subsets)
	}
}

// after is the life after a loss of power: it works, and the power fails again.
func (w *world) after(r *rand.Rand) {
	w.t.Helper()
	failed := false
	left := r.IntN(12)
	w.fs.Before = func(string, string) error {
		if left == 0 {
			failed = true
			w.fs.Off()
			return modelfs.ErrPower
		}
		left--
		return nil
	}
	w.run([]string{"as", "aSas", "was", "asSp"}[r.IntN(4)], &failed)
	w.fs.Before = func(string, string) error { return nil }
	w.power(func() bool { return r.IntN(2) == 0 })
}

// A life works after each fault of each operation, and what it had promised before stays.
func TestAnyOperationFailsOnce(t *testing.T) {
	for i, s := range steps {
		for at, more := 0, true; more; at++ {
			w := newWorld(t, journal.Options{SegmentBytes: 10 << 10, Random: seeded(uint64(i))})
			ops, never := 0, false
			w.fs.Before = func(op, name string) error {
				if ops++; ops == at+1 {
					w.note("%s %s fails", op, name)
					w.doubt = true
					return errDisk
				}
				return nil
			}
			w.open(nil)
			if !w.tolerant(s) {
				continue // the operation was one of Open's
			}
			more = ops > at
			w.run("as", &never)
			if w.log.Stats().SnapshotNeeded {
				w.run("S", &never)
			}
			w.flush(journal.Synced)
			if got := len(w.synced); got != len(w.items) {
				w.fatal("%d items are synced of %d", got, len(w.items))
			}
			w.power(func() bool { return false })
		}
	}
}

// tolerant takes the steps, and reports whether no Open failed.
func (w *world) tolerant(steps string) (ok bool) {
	never := false
	for i, step := range steps {
		if step == 'x' || step == 'k' {
			err := error(nil)
			if step == 'x' {
				err = w.log.Close()
			}
			w.note("%c: %v", step, err)
			w.fs.Kill()
			if probe, _, err := journal.Open(w.fs, w.o, func(journal.Record) error { return nil }); err != nil {
				return false
			} else if err := probe.Close(); err != nil {
				return false
			}
			w.open(w.written)
			continue
		}
		w.run(steps[i:i+1], &never)
	}
	return true
}

func ExampleLog() {
	fs := modelfs.New()
	log, _, err := journal.Open(fs, journal.Options{}, func(journal.Record) error { return nil })
	if err != nil {
		panic(err)
	}
	frame, err := log.Append([]byte("first"), []byte("second"))
	if err != nil {
		panic(err)
	}
	fmt.Println(frame, log.Flush(frame, journal.Synced), log.Close())
	_, report, err := journal.Open(fs, journal.Options{}, func(r journal.Record) error {
		for s := range r.Sections {
			fmt.Println(r.Frame, string(s))
		}
		return nil
	})
	fmt.Println(report.Last, err)
	// Output:
	// 1 <nil> <nil>
	// 1 first
	// 1 second
	// 1 <nil>
}
