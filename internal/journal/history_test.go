package journal_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
)

var histories = flag.Int("histories", 1000, "how many random histories to run")

// source is a reader of random bytes that repeats itself in each run.
type source struct{ *rand.ChaCha8 }

func seeded(n uint64) source {
	return source{rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})}
}

// options draws settings that reach the limits soon.
func options(r *rand.Rand, seed uint64) journal.Options {
	o := journal.Options{SegmentBytes: 12<<10 + r.Int64N(40<<10), Backlog: 4<<10 + r.IntN(60<<10), Random: seeded(seed)}
	if r.IntN(3) == 0 {
		o.Keys = []journal.Key{{1}, {2}}
	}
	return o
}

// What was promised is there after any history of appends, flushes, snapshots, failures and losses of
// power.
func TestWhatWasPromisedIsThereAfterAnyHistory(t *testing.T) {
	n := *histories
	if testing.Short() {
		n /= 10
	}
	for seed := range uint64(n) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed) }) {
			return
		}
	}
}

func history(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, options(r, seed))
	coin := func() bool { return r.IntN(2) == 0 }
	if r.IntN(4) == 0 {
		odds := 2 + r.IntN(20)
		coin = func() bool { return r.IntN(odds) > 0 }
	}
	faults := r.IntN(2) == 0
	w.open(nil)
	for range 10 + r.IntN(60) {
		switch r.IntN(17) {
		case 0, 1, 2, 3, 4:
			for range 1 + r.IntN(6) {
				w.append()
			}
		case 5, 6:
			w.flush(journal.Written)
		case 7, 8:
			w.flush(journal.Synced)
		case 9:
			w.note("claim")
			w.check(w.log.Claim())
		case 10:
			w.snapshot(r.IntN(3))
		case 11:
			removed, err := w.log.Prune(^uint64(0))
			w.note("prune: %d, %v", removed, err)
			w.check(err)
		case 12:
			err := w.log.Close()
			w.note("close: %v", err)
			if w.check(err); err == nil {
				w.promise(w.synced, w.written)
			}
			w.fault = ""
			w.open(w.written)
			if err == nil && !w.doubt && w.report.Unproven > 0 {
				w.fatal("%d frames are unproven after a clean end", w.report.Unproven)
			}
		case 13:
			w.fault = ""
			w.kill()
		case 14:
			w.fault = ""
			w.power(coin)
		case 15:
			if faults {
				w.fault = []string{"sync", "write", "create", "sync folder", "rename", "remove"}[r.IntN(6)]
				w.note("the next %s fails", w.fault)
			}
		case 16:
			w.note("the system drops clean pages")
			w.fs.Evict()
			if w.doubt {
				w.written = maps.Clone(w.synced) // since pages are clean after a sync that has failed
			}
		}
	}
	w.fault = ""
	w.power(coin)
}
