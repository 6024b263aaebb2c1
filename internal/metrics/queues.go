package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
)

// maxQueues bounds the queues that have a label of their own, so that series stay few. All other
// queues are summed under otherQueues. A queue keeps its label, so that counters never fall.
const (
	maxQueues   = 50
	otherQueues = "other"
)

var (
	queueItems    = desc("queue_items", "Items of work queues, as this peer sees them.", "queue", "state")
	queueCounters = []struct {
		desc  *prometheus.Desc
		value func(*workqueue.Counters) uint64
	}{
		{desc("queue_enqueued_total", "Items enqueued through this peer.", "queue"), func(c *workqueue.Counters) uint64 { return c.Enqueued }},
		{desc("queue_claims_total", "Items claimed through this peer.", "queue"), func(c *workqueue.Counters) uint64 { return c.Claimed }},
		{desc("queue_completed_total", "Claims of this peer that were completed.", "queue"), func(c *workqueue.Counters) uint64 { return c.Completed }},
		{desc("queue_failed_total", "Claims of this peer that were failed.", "queue"), func(c *workqueue.Counters) uint64 { return c.Failed }},
		{desc("queue_dead_total", "Items that died through this peer: their last attempt failed, or its worker was lost.", "queue"), func(c *workqueue.Counters) uint64 { return c.Dead }},
		{desc("queue_claims_lost_total", "Claims of this peer that ended before they were finished.", "queue"), func(c *workqueue.Counters) uint64 { return c.Lost }},
		{desc("queue_claims_lapsed_total", "Claims of clients that ended at this peer before they were finished here: given up, or extended or finished at another.", "queue"), func(c *workqueue.Counters) uint64 { return c.Lapsed }},
		{desc("queue_contended_total", "Attempts of this peer to claim an item that another peer had.", "queue"), func(c *workqueue.Counters) uint64 { return c.Contended }},
	}
)

// queueLabels gives queues their labels.
type queueLabels struct {
	mu    sync.Mutex // guards given
	given map[string]bool
}

func (l *queueLabels) of(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.given[name] {
		if len(l.given) == maxQueues || name == otherQueues {
			return otherQueues
		}
		l.given[name] = true
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}

// sum adds up the numbers of the queues of each label.
func (l *queueLabels) sum(queues map[string]workqueue.Stats) map[string]workqueue.Stats {
	sums := make(map[string]workqueue.Stats, len(queues))
	for name, q := range queues {
		label := l.of(name)
		s := sums[label]
		s.Depth.Pending += q.Depth.Pending
		s.Depth.Delayed += q.Depth.Delayed
		s.Depth.Claimed += q.Depth.Claimed
		s.Depth.Done += q.Depth.Done
		s.Depth.Dead += q.Depth.Dead
		s.Enqueued += q.Enqueued
		s.Claimed += q.Claimed
		s.Completed += q.Completed
		s.Failed += q.Failed
		s.Dead += q.Dead
		s.Lost += q.Lost
		s.Lapsed += q.Lapsed
		s.Contended += q.Contended
		sums[label] = s
	}
	return sums
}

func (l *queueLabels) describe(ch chan<- *prometheus.Desc) {
	ch <- queueItems
	for _, c := range queueCounters {
		ch <- c.desc
	}
}

func (l *queueLabels) collect(queues map[string]workqueue.Stats, ch chan<- prometheus.Metric) {
	for label, q := range l.sum(queues) {
		for state, n := range map[string]int{"pending": q.Depth.Pending, "delayed": q.Depth.Delayed, "claimed": q.Depth.Claimed, "done": q.Depth.Done, "dead": q.Depth.Dead} {
			ch <- prometheus.MustNewConstMetric(queueItems, prometheus.GaugeValue, float64(n), label, state)
		}
		for _, c := range queueCounters {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.value(&q.Counters)), label)
		}
	}
}
