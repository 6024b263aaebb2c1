// Command disk measures how fast stores make records durable, and how many bytes they write for it.
//
//	cd bench/disk && go run . -dir /var/tmp    # about four minutes, and 2 GB of space
//
// A record is a key of 37 B and a value of 200 random bytes, from which compression gains nothing. Every
// store first gets all keys, then random ones are overwritten:
//
//   - for the bytes, by one caller in batches of 100 records. They are the bytes that this process gave
//     to file systems from opening the store until it was closed.
//   - for the rates, by 1 caller and by 64. Each waits until its record is on the disk before it writes
//     the next. Callers that wait at the same time share a commit. The stores take turns, and the
//     table has the median rates, and the medians of their ratios to raw in the same round.
//
// The row raw appends the records to a file whose space is set aside, and has no index. The folder must
// be on the disk in question: a tmpfs syncs nothing. The command needs Linux.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

func main() {
	dir := flag.String("dir", ".", "folder on the disk to measure")
	keys := flag.Int("keys", 1_000_000, "keys that every store has")
	overwrites := flag.Int("overwrites", 300_000, "records that are overwritten for the bytes")
	rounds := flag.Int("rounds", 9, "turns of every store for the rates")
	turn := flag.Duration("turn", time.Second, "length of a turn")
	flag.Parse()
	b := bench{keys: *keys, overwrites: *overwrites, turn: *turn}
	if err := b.run(*dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "disk:", err)
		os.Exit(1)
	}
}

type bench struct {
	dir              string
	keys, overwrites int
	turn             time.Duration
}

// row is what was measured of one store.
type row struct {
	bytes float64      // written for each byte of a record
	rates [2][]float64 // records a second, by round, for each of callers
}

var callers = [2]int{1, 64}

func (b bench) run(dir string, rounds int) (err error) {
	if b.dir, err = os.MkdirTemp(dir, "disk-*"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	rows := make([]row, len(stores))
	for i, s := range stores {
		if err := os.Mkdir(filepath.Join(b.dir, s.name), 0o700); err != nil {
			return err
		}
		if _, err := b.with(s, b.load); err != nil {
			return err
		}
		before, err := written()
		if err != nil {
			return err
		}
		if _, err := b.with(s, b.overwrite); err != nil {
			return err
		}
		after, err := written()
		if err != nil {
			return err
		}
		rows[i].bytes = float64(after-before) / float64(b.overwrites*recordBytes)
		fmt.Fprintf(os.Stderr, "%s: %.1f bytes written for each\n", s.name, rows[i].bytes)
	}
	for range rounds {
		for c, n := range callers {
			for i, s := range stores {
				rate, err := b.with(s, func(st store) (float64, error) { return b.rate(st, n) })
				if err != nil {
					return err
				}
				rows[i].rates[c] = append(rows[i].rates[c], rate)
			}
		}
	}
	return report(os.Stdout, rows)
}

// with opens a store, calls f and closes the store.
func (b bench) with(s kind, f func(store) (float64, error)) (float64, error) {
	st, err := s.open(filepath.Join(b.dir, s.name))
	if err != nil {
		return 0, fmt.Errorf("%s: open: %w", s.name, err)
	}
	x, err := f(st)
	if e := st.Close(); err == nil {
		err = e
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return x, nil
}

// load writes all keys in batches of 1,000.
func (b bench) load(st store) (float64, error) {
	next := 0
	return 0, putAll(st, b.keys, 1000, func() record { next++; return newRecord(next - 1) })
}

// overwrite writes random keys in batches of 100.
func (b bench) overwrite(st store) (float64, error) {
	return 0, putAll(st, b.overwrites, 100, b.random)
}

func (b bench) random() record { return newRecord(rand.IntN(b.keys)) }

func putAll(st store, n, batch int, next func() record) error {
	records := make([]record, 0, batch)
	for ; n > 0; n -= len(records) {
		records = records[:0]
		for range min(batch, n) {
			records = append(records, next())
		}
		if err := st.put(records); err != nil {
			return err
		}
	}
	return nil
}

// rate returns how many records a second that many callers write.
func (b bench) rate(st store, callers int) (float64, error) {
	g := &group{store: st, next: newCommit()}
	counts, faults := make([]int, callers), make([]error, callers)
	var all sync.WaitGroup
	start := time.Now()
	for i := range callers {
		all.Go(func() {
			for faults[i] == nil && time.Since(start) < b.turn {
				faults[i] = g.put(b.random())
				counts[i]++
			}
		})
	}
	all.Wait()
	took := time.Since(start).Seconds()
	n := 0
	for i := range callers {
		if faults[i] != nil {
			return 0, faults[i]
		}
		n += counts[i]
	}
	return float64(n) / took, nil
}

// written returns the bytes that this process gave to file systems to write, without those of files
// that were removed before they were written.
func written() (int64, error) {
	f, err := os.Open("/proc/self/io")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var wrote, cancelled int64
	for {
		var name string
		var n int64
		if _, err := fmt.Fscan(f, &name, &n); err == io.EOF {
			return wrote - cancelled, nil
		} else if err != nil {
			return 0, err
		}
		switch name {
		case "write_bytes:":
			wrote = n
		case "cancelled_write_bytes:":
			cancelled = n
		}
	}
}

// report prints the table.
func report(to io.Writer, rows []row) error {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tRECORDS/S, 1 CALLER\tOF RAW\t64 CALLERS\tOF RAW\tBYTES WRITTEN PER BYTE")
	for i, s := range stores {
		fmt.Fprint(t, s.name)
		for c := range callers {
			ofRaw := make([]float64, len(rows[i].rates[c]))
			for round, rate := range rows[i].rates[c] {
				ofRaw[round] = rate / rows[0].rates[c][round]
			}
			fmt.Fprintf(t, "\t%.0f\t%.2f", median(rows[i].rates[c]), median(ofRaw))
		}
		fmt.Fprintf(t, "\t%.1f\n", rows[i].bytes)
	}
	return t.Flush()
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
