package subject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/rival"
)

const (
	sustainedRounds = 3
	sustainedWrites = 200_000 // of each of three writers
	natsWrites      = 70_000  // likewise: about as many seconds
)

// Sustained measures writes a second, one writer at each of three peers, from the
// first until all three hold everything. Every write has a key of its own, so that
// none may be dropped for a newer one.
func Sustained(ctx context.Context) ([]measure.Row, error) {
	var us, nats []float64
	var peak load
	for range sustainedRounds {
		rate, l, err := sustain(ctx)
		if err != nil {
			return nil, err
		}
		us, peak = append(us, rate), peak.max(l)
		// Only until NATS starts in this process is the peak ours alone.
		if peak.rss == 0 {
			if peak.rss, err = measure.PeakRSS(); err != nil {
				return nil, err
			}
		}
		if rate, err = sustainNATS(ctx); err != nil {
			return nil, err
		}
		nats = append(nats, rate)
	}
	note := fmt.Sprintf("all 3 × %d keys and checksums agree; queues peaked at %d MB, frames dropped %d, repaired %d",
		3*sustainedWrites, peak.queued>>20, peak.dropped, peak.repaired)
	return []measure.Row{
		{What: "sustained, three writers", Unit: "/s", Measured: median(us), Goal: 80_000, AtLeast: true,
			Reference: median(nats), Against: "NATS KV R3 async", Note: note},
		{What: "peak memory of that, three peers", Unit: "MB", Measured: float64(peak.rss) / 1e6,
			Note: fmt.Sprintf("%d MB of it keys and values", 3*3*sustainedWrites*239/1_000_000)},
	}, nil
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// load is the greatest length of the queues.
type load struct {
	rss               uint64
	queued            int
	dropped, repaired uint64
}

func (l load) max(o load) load {
	l.queued, l.dropped, l.repaired = max(l.queued, o.queued), max(l.dropped, o.dropped), max(l.repaired, o.repaired)
	return l
}

func sustain(ctx context.Context) (rate float64, l load, err error) {
	peers, err := fleet.Open(ctx, 3, agent.Config{})
	if err != nil {
		return 0, l, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()

	// Watching the queues costs a lock ten times a second.
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			now := load{}
			for _, p := range peers {
				s := p.Stats()
				now.queued = max(now.queued, s.Backlog+s.Gossip.QueuedBytes)
				now.dropped += s.FramesDropped
				now.repaired += s.Gossip.GapRequests + s.Gossip.Reconciliations
			}
			l = l.max(now)
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	start := time.Now()
	err = each(ctx, len(peers), func(ctx context.Context, w int) error {
		for i := range sustainedWrites {
			if err := peers[w].Put(ctx, key(w*sustainedWrites+i), value); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return peers[w].WaitReplicated(ctx, 2)
	})
	took := time.Since(start)
	close(stop)
	watch.Wait()
	if err == nil {
		err = fleet.Agree(peers, 3*sustainedWrites)
	}
	return 3 * sustainedWrites / took.Seconds(), l, err
}

func sustainNATS(ctx context.Context) (float64, error) {
	n, err := rival.OpenNATS(ctx)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	start := time.Now()
	err = each(ctx, 3, func(ctx context.Context, w int) error {
		payload := []byte(value)
		for i := range natsWrites {
			if _, err := n.Streams[w].PublishAsync(rival.Subject(fmt.Sprintf("bench.worker.%020d", w*natsWrites+i)), payload, jetstream.WithStallWait(time.Minute)); err != nil {
				return fmt.Errorf("nats: %w", err)
			}
		}
		select {
		case <-n.Streams[w].PublishAsyncComplete():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := n.Complete(ctx, 3*natsWrites); err != nil {
		return 0, err
	}
	return 3 * natsWrites / time.Since(start).Seconds(), nil
}

// each runs f for 0 to n-1 at once.
func each(ctx context.Context, n int, f func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for w := range n {
		g.Go(func() error { return f(ctx, w) })
	}
	return g.Wait()
}
