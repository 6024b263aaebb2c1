package subject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	idlePeers  = 50
	idleSettle = 20 * time.Second
	idleSpan   = 30 * time.Second
)

// Idle measures the traffic and processor time of each of 50 idle peers, beside bare
// memberlist with its defaults for a LAN.
func Idle(ctx context.Context) (rows []measure.Row, err error) {
	bareBytes, bareShare, err := idleMemberlist(ctx)
	if err != nil {
		return nil, err
	}
	peers, err := fleet.Open(ctx, idlePeers, agent.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	bytes, share, err := idle(ctx)
	if err != nil {
		return nil, err
	}
	const against = "bare memberlist"
	return []measure.Row{
		{What: "idle, sent by one of 50 peers", Unit: "B/s", Measured: bytes, Goal: 2000,
			Reference: bareBytes, Against: against, Note: fmt.Sprintf("over %v, with packet headers", idleSpan)},
		{What: "idle, computed by one of 50 peers", Unit: "% of a core", Measured: share, Goal: 0.5, Reference: bareShare, Against: against},
	}, nil
}

// idle waits until the process has settled, and returns the traffic and processor time of
// each peer.
func idle(ctx context.Context) (bytes, share float64, err error) {
	if err := pause(ctx, idleSettle); err != nil {
		return 0, 0, err
	}
	cpu, err := measure.CPU()
	if err != nil {
		return 0, 0, err
	}
	wire, err := measure.Loopback()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := pause(ctx, idleSpan); err != nil {
		return 0, 0, err
	}
	took := time.Since(start).Seconds()
	cpuAfter, err := measure.CPU()
	if err != nil {
		return 0, 0, err
	}
	wireAfter, err := measure.Loopback()
	if err != nil {
		return 0, 0, err
	}
	return float64(wireAfter-wire) / took / idlePeers, 100 * (cpuAfter - cpu).Seconds() / took / idlePeers, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func idleMemberlist(ctx context.Context) (bytes, share float64, err error) {
	var lists []*memberlist.Memberlist
	defer func() {
		for _, l := range lists {
			err = errors.Join(err, l.Shutdown())
		}
	}()
	for i := range idlePeers {
		cfg := memberlist.DefaultLANConfig()
		cfg.Name = fmt.Sprintf("n%d", i+1)
		cfg.BindAddr, cfg.BindPort = "127.0.0.1", 0
		cfg.SecretKey = fleet.Key
		cfg.LogOutput = io.Discard
		l, err := memberlist.Create(cfg)
		if err != nil {
			return 0, 0, err
		}
		lists = append(lists, l)
		if i > 0 {
			if _, err := l.Join([]string{lists[0].LocalNode().FullAddress().Addr}); err != nil {
				return 0, 0, err
			}
		}
	}
	return idle(ctx)
}
