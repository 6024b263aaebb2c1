package subject

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

const (
	heldLeases    = 10_000
	renewalSettle = 4 * time.Second // a third of the TTL, and more: each was renewed once
	renewalSpan   = 10 * time.Second
)

// lockRenewals measures the processor time of 10,000 leases of 10 s that one peer holds,
// for all four peers together and with their idle work.
func lockRenewals(ctx context.Context, p *agent.Agent) (measure.Row, error) {
	leases := make([]*lockservice.Lease, heldLeases)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(flight)
	for i := range leases {
		g.Go(func() (err error) {
			leases[i], err = p.Locks().Lock(gctx, key(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return measure.Row{}, err
	}
	if err := pause(ctx, renewalSettle); err != nil {
		return measure.Row{}, err
	}
	before, err := measure.CPU()
	if err != nil {
		return measure.Row{}, err
	}
	start := time.Now()
	if err := pause(ctx, renewalSpan); err != nil {
		return measure.Row{}, err
	}
	took := time.Since(start)
	after, err := measure.CPU()
	if err != nil {
		return measure.Row{}, err
	}
	for i, l := range leases {
		if l.Err() != nil {
			return measure.Row{}, fmt.Errorf("lease %d of %d: %w", i, heldLeases, l.Err())
		}
	}
	return measure.Row{What: "10,000 leases held and renewed, all four peers", Unit: "% of a core",
		Measured: 100 * (after - before).Seconds() / took.Seconds(), Goal: 10, Note: fmt.Sprintf("leases of 10 s, over %v", renewalSpan)}, nil
}
