package measure

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution of durations up to a minute, to three digits.
type Latency struct{ h *hdrhistogram.Histogram }

// NewLatency returns an empty distribution.
func NewLatency() Latency {
	return Latency{hdrhistogram.New(1, int64(time.Minute), 3)}
}

// Add records d; beyond a minute it counts as a minute.
func (l Latency) Add(d time.Duration) {
	if l.h.RecordValue(int64(d)) != nil {
		l.h.RecordValue(int64(time.Minute))
	}
}

// Merge adds the durations of other.
func (l Latency) Merge(other Latency) { l.h.Merge(other.h) }

// Count returns how many durations were added.
func (l Latency) Count() int64 { return l.h.TotalCount() }

// Micros returns the value at quantile q of 100, in microseconds.
func (l Latency) Micros(q float64) float64 { return float64(l.h.ValueAtQuantile(q)) / 1e3 }
