package subject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/rival"
)

const (
	putKeys   = 10_000
	putBurst  = 40_000 // what 400 k/s make in one batch interval
	putRounds = 15
	dskitPuts = 5_000
)

// Put measures bursts of writes from one goroutine until the last has returned:
// visible on this peer and queued for the others. With two peers, they take the
// burst over the network on the same cores meanwhile; between bursts they catch up.
func Put(ctx context.Context) ([]measure.Row, error) {
	alone, err := putBursts(ctx, 1)
	if err != nil {
		return nil, err
	}
	three, err := putBursts(ctx, 3)
	if err != nil {
		return nil, err
	}
	rows := []measure.Row{
		{What: "put, one goroutine, no peers", Unit: "/s", Measured: alone, Goal: 400_000, AtLeast: true},
		{What: "put, one goroutine, two peers taking part", Unit: "/s", Measured: three, Goal: 400_000, AtLeast: true,
			Note: fmt.Sprintf("bursts of %d", putBurst)},
	}
	d, err := rival.OpenDskit(ctx)
	if err != nil {
		rows[1].Note += fmt.Sprintf("; dskit was not measured: %v", err)
		return rows, nil
	}
	defer d.Close()
	rate := func(keys int) (float64, error) {
		var rates []float64
		for range 3 {
			took, err := d.Put(dskitPuts, keys)
			if err != nil {
				return 0, err
			}
			rates = append(rates, dskitPuts/took.Seconds())
		}
		return median(rates), nil
	}
	theirs, err := rate(putKeys)
	if err != nil {
		return nil, err
	}
	few, err := rate(100)
	if err != nil {
		return nil, err
	}
	rows[0].Note = fmt.Sprintf("dskit with 100 keys in place of %d: %.0f /s", putKeys, few)
	for i := range rows {
		rows[i].Reference, rows[i].Against = theirs, "dskit, two peers"
	}
	return rows, nil
}

func putBursts(ctx context.Context, n int) (rate float64, err error) {
	peers, err := fleet.Open(ctx, n, agent.Config{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	all := keys(putKeys)
	var rates []float64
	for range putRounds {
		start := time.Now()
		for i := range putBurst {
			if err := peers[0].Put(ctx, all[i%putKeys], value); err != nil {
				return 0, err
			}
		}
		rates = append(rates, putBurst/time.Since(start).Seconds())
		limit, cancel := context.WithTimeout(ctx, time.Minute)
		err := peers[0].WaitReplicated(limit, n-1)
		cancel()
		if err != nil {
			return 0, err
		}
	}
	return median(rates), fleet.Agree(peers, putKeys)
}
