package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// Of other peers only the worst value is shown: a series for each would make as many series in a
// cluster as there are pairs of peers.
var (
	ready       = desc("ready", "1 if this peer has synced with another, or needs none.")
	peerLag     = desc("peer_lag_writes", "Writes of this peer that the live peer furthest behind has not acknowledged.")
	peerSilence = desc("peer_silence_seconds", "Seconds since the last message of the live peer that is silent for longest.")
	partition   = desc("partition_seconds", "Seconds since the known address that is missing for longest went missing; 0 if none is.")
	peerPackets = desc("peer_packets", "Live peers by whether UDP passes between them and this one; blocked means in one direction or both.", "passage")
	peerOffset  = desc("peer_clock_offset_seconds", "Difference of this peer's clock and that of the live peer that differs most, ahead or behind.")
)

func describePeers(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ready, peerLag, peerSilence, peerOffset, peerPackets, partition} {
		ch <- d
	}
}

func collectPeers(a *agent.Agent, s *agent.Stats, now time.Time, ch chan<- prometheus.Metric) {
	var lag uint64
	var silence, offset time.Duration
	for _, m := range a.Members() {
		if m.Self || m.State != "alive" {
			continue
		}
		lag = max(lag, m.Lag)
		if m.ClockOffset.Abs() > offset.Abs() {
			offset = m.ClockOffset
		}
		if !m.Contact.IsZero() {
			silence = max(silence, now.Sub(m.Contact))
		}
	}
	isReady := 0.0
	if a.Ready() {
		isReady = 1
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(ready, isReady)
	gauge(peerLag, float64(lag))
	gauge(peerSilence, silence.Seconds())
	gauge(peerOffset, offset.Seconds())
	for passage, n := range s.Packets {
		ch <- prometheus.MustNewConstMetric(peerPackets, prometheus.GaugeValue, float64(n), passage)
	}
	gauge(partition, s.Transport.PartitionAge.Seconds())
}
