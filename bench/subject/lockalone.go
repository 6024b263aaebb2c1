package subject

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	aloneRounds = 10
	alonePairs  = 200 // a round
	aloneNames  = 100
)

// pairs is a client that locks and unlocks one lock after the other, with the time that
// each pair took.
type pairs struct {
	name string
	take taker
	took measure.Latency
}

// lockAlone measures lock and unlock without contention.
func lockAlone(ctx context.Context, peers []*agent.Agent, rivals lockRivals) ([]measure.Row, error) {
	voter := &pairs{name: "from a voter", take: takerOf(peers[0])}
	peer := &pairs{name: "from a peer that does not vote", take: takerOf(peers[lockPeers-1])}
	all := []*pairs{voter, peer}
	took := make(map[string]*pairs)
	for _, r := range rivals.all() {
		if r.take != nil {
			took[r.name] = &pairs{name: r.name, take: r.take}
			all = append(all, took[r.name])
		}
	}
	for round := range aloneRounds + 1 {
		for _, p := range all {
			if round <= 1 { // the first warms up connections and caches, and is not counted
				p.took = measure.NewLatency()
			}
			if err := p.run(ctx, round); err != nil {
				return nil, err
			}
		}
	}
	var rows []measure.Row
	for _, us := range []*pairs{voter, peer} {
		for _, q := range []struct{ at, goal float64 }{{50, 150}, {99, 1000}} {
			row := measure.Row{What: fmt.Sprintf("lock + unlock %s, p%g", us.name, q.at), Unit: "µs", Measured: us.took.Micros(q.at)}
			for _, r := range rivals.all() {
				// One Redis asks no majority: it is to compare, not to be ahead of.
				if row.OfRatio = r.name != rivals.redis.name; row.OfRatio {
					row.Goal, row.Note = 1, ""
				} else {
					row.Goal, row.Note = q.goal, fmt.Sprintf("%d pairs", us.took.Count())
				}
				row.Reference, row.Against = 0, ""
				if them := took[r.name]; them != nil {
					row.Reference, row.Against = them.took.Micros(q.at), r.name
				}
				if row.Reference != 0 || !row.OfRatio {
					rows = append(rows, row)
				}
			}
		}
	}
	for _, r := range rivals.all() {
		if n := r.note(); n != "" {
			rows[0].Note += "; " + n
		}
	}
	return rows, nil
}

func (p *pairs) run(ctx context.Context, round int) error {
	for i := range alonePairs {
		name := key((round*alonePairs + i) % aloneNames)
		start := time.Now()
		unlock, err := p.take(ctx, 0, name)
		if err == nil {
			err = unlock(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		p.took.Add(time.Since(start))
	}
	return nil
}
