package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
)

const (
	sampleEvery = 2 * time.Second
	maxSamples  = 150 // five minutes
	lately      = 5   // the number of samples for a present rate
)

// sample is a reading of the counters from which rates are computed.
type sample struct {
	at                                        time.Time
	writes, merged, conflicts, sent, received uint64
	queues                                    map[string]workqueue.Stats // nil in all but the latest samples
}

// samples are the readings of the last minutes, the oldest first.
type samples struct {
	mu   sync.Mutex
	list []sample
}

func (s *samples) take(st agent.Stats, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == maxSamples {
		copy(s.list, s.list[1:])
		s.list = s.list[:maxSamples-1]
	}
	s.list = append(s.list, sample{now, st.Writes, st.Store.Merged, st.Conflicts, st.Gossip.BytesSent, st.Gossip.BytesReceived, st.Queues})
	if old := len(s.list) - lately - 1; old >= 0 {
		s.list[old].queues = nil
	}
}

// rates returns the rate of a counter per second, between each two successive samples.
func (s *samples) rates(of func(sample) uint64) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]float64, 0, len(s.list))
	for i := 1; i < len(s.list); i++ {
		list = append(list, per(s.list[i-1], s.list[i], of))
	}
	return list
}

// recent returns the rate of a counter over the latest samples.
func (s *samples) recent(of func(sample) uint64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.list) - 1
	return per(s.list[max(last-lately+1, 0)], s.list[last], of)
}

// per returns the rate of a counter per second between two samples. It is 0 if the counter fell,
// which happens when it is reset.
func per(a, b sample, of func(sample) uint64) float64 {
	from, to, took := of(a), of(b), b.at.Sub(a.at).Seconds()
	if to < from || took <= 0 {
		return 0
	}
	return float64(to-from) / took
}

// sample reads the counters at intervals, and frees what no page uses.
func (d *Dashboard) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.samples.take(d.agent.Stats(), now)
			d.index.expire(now)
		case <-ctx.Done():
			return
		}
	}
}
