package subject

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	getKeys   = 100_000
	getReads  = 2_000_000 // of each goroutine, a round
	getRounds = 7
)

// Get measures reads of 100,000 keys and of a byte of each value, beside a bare map
// with the same keys and values:
// in the order they were written, where the processor fetches ahead, and in random
// order, where every pointer followed is a cache missed.
func Get(ctx context.Context) (rows []measure.Row, err error) {
	peers, err := fleet.Open(ctx, 1, agent.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	a, bare := peers[0], xsync.NewMap[string, string]()
	all := keys(getKeys)
	for _, k := range all {
		if err := a.Put(ctx, k, value); err != nil {
			return nil, err
		}
		v, _ := a.Get(k)
		bare.Store(k, strings.Clone(v.Raw()))
	}
	encoded, _ := a.Get(all[0])
	first := encoded.Raw()[0]
	ofAgent := func(from int) bool {
		for i := range getReads {
			if v, ok := a.Get(all[(from+i)%getKeys]); !ok || v.Raw()[0] != first {
				return false
			}
		}
		return true
	}
	ofMap := func(from int) bool {
		for i := range getReads {
			if v, ok := bare.Load(all[(from+i)%getKeys]); !ok || v[0] != first {
				return false
			}
		}
		return true
	}
	measureOrder := func(order string) error {
		alone := 0.0
		for _, n := range []int{1, 2} {
			var us, them []float64
			for range getRounds {
				x, err := nanos(n, ofAgent)
				if err != nil {
					return err
				}
				y, err := nanos(n, ofMap)
				if err != nil {
					return err
				}
				us, them = append(us, x), append(them, y)
			}
			row := measure.Row{
				What: fmt.Sprintf("get, %s, goroutines: %d", order, n), Unit: "ns", Measured: median(us), Goal: 2.5, OfRatio: true,
				Reference: median(them), Against: "xsync.Map", Note: fmt.Sprintf("%.1f M/s in all", float64(n)*1e3/median(us)),
			}
			if n == 1 {
				alone = row.Measured
			} else {
				row.Note += fmt.Sprintf(", %.2f × one goroutine", float64(n)*alone/row.Measured)
			}
			rows = append(rows, row)
		}
		return nil
	}
	if err := measureOrder("in order"); err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if err := measureOrder("at random"); err != nil {
		return nil, err
	}
	allocs := allocations(func() { ofAgent(0) }) / getReads
	rows = append(rows, measure.Row{What: "get, allocations", Unit: "each", Measured: allocs, Goal: 0.001})
	return rows, nil
}

// nanos returns how long one read of f takes with n goroutines reading.
func nanos(n int, f func(from int) bool) (float64, error) {
	found := make([]bool, n)
	var wg sync.WaitGroup
	start := time.Now()
	for g := range n {
		wg.Go(func() { found[g] = f(g * getKeys / n) })
	}
	wg.Wait()
	took := time.Since(start)
	for _, ok := range found {
		if !ok {
			return 0, errors.New("get: a key is absent")
		}
	}
	return float64(took.Nanoseconds()) / getReads, nil
}

// allocations counts what f, and whatever else runs, allocates.
func allocations(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}
