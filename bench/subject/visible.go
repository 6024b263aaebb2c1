package subject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/rival"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

const (
	visibleRounds = 10
	visibleWrites = 500 // a round
	dskitWrites   = 50  // a round: each takes several ticks of its gossip
	arrival       = 10 * time.Second
)

// Visible measures one write on one of three peers until watchers on both others
// have seen it; the next write starts then. Traffic of ours is sealed, theirs not.
func Visible(ctx context.Context) (rows []measure.Row, err error) {
	ours, err := openWatched(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(ours.peers)) }()
	theirs, err := openWatchedNATS(ctx)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	dskit, dskitErr := rival.OpenDskit(ctx)
	if dskitErr == nil {
		defer dskit.Close()
	}

	us, nats, tick := measure.NewLatency(), measure.NewLatency(), measure.NewLatency()
	writes, wire := 0, uint64(0)
	for round := range visibleRounds + 1 {
		// The first round warms up connections and caches, and is not counted.
		if round == 1 {
			us, nats, tick = measure.NewLatency(), measure.NewLatency(), measure.NewLatency()
		}
		before, err := measure.Loopback()
		if err != nil {
			return nil, err
		}
		for range visibleWrites {
			writes++
			took, err := ours.write(ctx, writes)
			if err != nil {
				return nil, err
			}
			us.Add(took)
		}
		after, err := measure.Loopback()
		if err != nil {
			return nil, err
		}
		wire += after - before
		for i := range visibleWrites {
			took, err := theirs.write(ctx, round*visibleWrites+i)
			if err != nil {
				return nil, err
			}
			nats.Add(took)
		}
		if dskitErr == nil {
			took, err := dskit.Visible(dskitWrites, 100)
			if err != nil {
				return nil, err
			}
			for _, d := range took {
				tick.Add(d)
			}
		}
	}
	row := func(q, goal float64, ref measure.Latency, against string) measure.Row {
		return measure.Row{
			What: fmt.Sprintf("visible on both others, p%g", q), Unit: "µs", Measured: us.Micros(q), Goal: goal,
			Reference: ref.Micros(q), Against: against, Note: fmt.Sprintf("%d writes, %d of the reference", us.Count(), ref.Count()),
		}
	}
	rows = []measure.Row{row(50, 150, nats, "NATS KV R3"), row(99, 1000, nats, "NATS KV R3")}
	rows[0].Note += fmt.Sprintf("; %d B of ours on the loopback interface a write", wire/uint64(writes))
	if dskitErr != nil {
		rows[1].Note += fmt.Sprintf("; dskit was not measured: %v", dskitErr)
		return rows, nil
	}
	rows = append(rows, row(50, 0, tick, "dskit, 10 ms tick"), row(99, 0, tick, "dskit, 10 ms tick"))
	rows[3].Note += "; dskit in a process of its own"
	return rows, nil
}

// numbered returns the value of the i-th write. All values differ, so that a watcher that
// gets an older one is noticed.
func numbered(i int) string { return fmt.Sprintf("%0*d", len(value), i) }

type watched struct {
	peers []*agent.Agent
	subs  []*agent.Subscription
}

func openWatched(ctx context.Context) (w watched, err error) {
	if w.peers, err = fleet.Open(ctx, 3, agent.Config{BatchInterval: agent.AtOnce}); err != nil {
		return w, err
	}
	for _, p := range w.peers[1:] {
		s, err := p.Watch(ctx, "task-sentinel/**")
		if err != nil {
			return w, errors.Join(err, fleet.Close(w.peers))
		}
		w.subs = append(w.subs, s)
	}
	return w, nil
}

func (w watched) write(ctx context.Context, i int) (time.Duration, error) {
	k, v := key(i%100), numbered(i)
	want, err := crdt.ValueOf(v)
	if err != nil {
		return 0, err
	}
	limit := time.NewTimer(arrival)
	defer limit.Stop()
	start := time.Now()
	if err := w.peers[0].Put(ctx, k, v); err != nil {
		return 0, err
	}
	for _, s := range w.subs {
		select {
		case e := <-s.C():
			if e.Cause != agent.CausePut || e.Key != k || !e.New.Equal(want) || e.Local {
				return 0, fmt.Errorf("write %d of %s: the watcher heard %q of %q, local %t: %s", i, k, e.Cause, e.Key, e.Local, e.New)
			}
		case <-limit.C:
			return 0, fmt.Errorf("write %d did not arrive within %v", i, arrival)
		}
	}
	return time.Since(start), nil
}

type watchedNATS struct {
	*rival.NATS
	watchers []jetstream.KeyWatcher
}

func openWatchedNATS(ctx context.Context) (w watchedNATS, err error) {
	if w.NATS, err = rival.OpenNATS(ctx); err != nil {
		return w, err
	}
	for _, kv := range w.KV[1:] {
		watcher, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
		if err != nil {
			w.Close()
			return w, fmt.Errorf("nats: %w", err)
		}
		w.watchers = append(w.watchers, watcher)
	}
	return w, nil
}

// write publishes without waiting for the acknowledgement, which often comes after
// the watchers have the value.
func (w watchedNATS) write(_ context.Context, i int) (time.Duration, error) {
	k := fmt.Sprintf("bench.worker.%020d", i%100)
	limit := time.NewTimer(arrival)
	defer limit.Stop()
	payload := []byte(numbered(i))
	start := time.Now()
	ack, err := w.Streams[0].PublishAsync(rival.Subject(k), payload)
	if err != nil {
		return 0, fmt.Errorf("nats: %w", err)
	}
	for _, watcher := range w.watchers {
		select {
		case e := <-watcher.Updates():
			if e == nil || e.Key() != k || !bytes.Equal(e.Value(), payload) {
				return 0, fmt.Errorf("nats: write %d of %s: the watcher heard %v", i, k, e)
			}
		case <-limit.C:
			return 0, fmt.Errorf("nats: write %d did not arrive within %v", i, arrival)
		}
	}
	took := time.Since(start)
	select {
	case <-ack.Ok():
		return took, nil
	case err := <-ack.Err():
		return 0, fmt.Errorf("nats: %w", err)
	}
}
