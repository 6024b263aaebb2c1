// Command growth measures how the cost of an operation grows with what it does not touch: keys,
// elements, items, subscribers, peers, restarts. It prints each cost at sizes of ×10 steps, and the exponent of the
// last step: 0 if the cost does not grow, 1 if it grows with the size. Run it from the bench folder:
//
//	go run ./growth               # all curves, about six minutes
//	go run ./growth -most 100000  # no size beyond
//	go run ./growth list set      # the curves whose names contain one of the words
//
// The exit code is 1 if a curve could not be measured or grows faster than its limit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// curve is one operation, whose cost is measured at several sizes.
type curve struct {
	what  string
	of    string // what the size counts
	sizes []int
	limit float64 // the greatest exponent that passes
	cost  func(ctx context.Context, size int) (time.Duration, error)
}

func main() {
	most := flag.Int("most", 1_000_000, "the greatest size that is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *most, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, most int, words []string) error {
	fmt.Printf("%s, %s/%s, %d cores, %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().Format(time.DateTime))
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OPERATION\tGROWS WITH\tCOST AT ×10 SIZES\tEXPONENT\tLIMIT\tRESULT")
	var faults []error
	row := func(what, of string, limit float64, measure func(context.Context, int) ([]string, float64, error)) {
		named := func(word string) bool { return strings.Contains(what+" "+of, word) }
		if len(words) > 0 && !slices.ContainsFunc(words, named) {
			return
		}
		costs, growth, err := measure(ctx, most)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", what, err))
			return
		}
		result := "pass"
		if growth > limit {
			result = "FAIL"
			faults = append(faults, fmt.Errorf("%s grows with the %s by the exponent %.2f; at most %.1f is allowed", what, of, growth, limit))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t%.1f\t%s\n", what, of, strings.Join(costs, ", "), growth, limit, result)
		fmt.Fprintf(os.Stderr, "%s: %s\n", what, strings.Join(costs, ", "))
	}
	for _, c := range slices.Concat(curves, watchers) {
		row(c.what, c.of, c.limit, c.measure)
	}
	for _, c := range counts {
		row(c.what, c.of, c.limit, c.measure)
	}
	t.Flush()
	return errors.Join(faults...)
}

// rounds is how often each size is measured; the least cost counts, because other programs on
// the machine only add to it.
const rounds = 3

func (c curve) measure(ctx context.Context, most int) (costs []string, growth float64, err error) {
	var last, before float64
	var size, sizeBefore int
	for _, n := range c.sizes {
		if n > most {
			break
		}
		least := time.Duration(math.MaxInt64)
		for range rounds {
			debug.FreeOSMemory() // the garbage of a round is not the cost of the next
			took, err := c.cost(ctx, n)
			if err != nil {
				return nil, 0, fmt.Errorf("at %d: %w", n, err)
			}
			least = min(least, took)
		}
		before, sizeBefore, last, size = last, size, float64(least), n
		costs = append(costs, fmt.Sprintf("%s: %s", short(n), rounded(least)))
	}
	if sizeBefore == 0 {
		return costs, 0, nil
	}
	return costs, exponent(sizeBefore, size, before, last), nil
}

// exponent returns how fast a cost grows from one size to the next.
func exponent(sizeBefore, size int, before, cost float64) float64 {
	return math.Log(cost/before) / math.Log(float64(size)/float64(sizeBefore))
}

// short writes a size: 1k, 10k, 1M.
func short(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// rounded returns d with three digits.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
