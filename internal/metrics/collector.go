package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Metrics serves the metrics of one agent.
type Metrics struct {
	http.Handler
	Panics   prometheus.Counter // HTTP requests that panicked
	tools    *prometheus.CounterVec
	reloads  *prometheus.GaugeVec
	registry *prometheus.Registry
	parts    []prometheus.Collector // the collectors of this package, which a test compares with docs/metrics.md
}

func (m *Metrics) register(parts ...prometheus.Collector) {
	m.registry.MustRegister(parts...)
	m.parts = append(m.parts, parts...)
}

// ToolCalled counts a call of an MCP tool. There are few tools, and no others count.
func (m *Metrics) ToolCalled(tool string, failed bool) {
	m.tools.WithLabelValues(tool, map[bool]string{false: "ok", true: "error"}[failed]).Inc()
}

// Reloaded notes whether the daemon accepted a reload of what: keys, tokens, certificate, settings
// or voters.
func (m *Metrics) Reloaded(what string, taken bool) {
	m.reloads.WithLabelValues(what).Set(map[bool]float64{true: 1}[taken])
}

// LogLost adds a counter of log lines that standard error did not take.
func (m *Metrics) LogLost(lost func() uint64) {
	m.register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "sentinel_log_lines_lost_total",
		Help: "Lines of the log that standard error did not take in time, or at all."}, func() float64 { return float64(lost()) }))
}

// New returns the metrics of a, of this version of the program, of Go and the process.
func New(a *agent.Agent, version string) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		Handler:  promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r}),
		Panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "sentinel_http_panics_total", Help: "HTTP requests that panicked: each is a fault to report."}),
		tools:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sentinel_mcp_tool_calls_total", Help: "Calls of MCP tools, by tool and result: ok, or error."}, []string{"tool", "result"}),
		reloads:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sentinel_reload_ok", Help: "1 if the last reload of keys, tokens, certificate, settings or voters was taken; 0 if it was refused and the old stay, the log says why."}, []string{"what"}),
		registry: r,
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sentinel_build_info", Help: "1, of this version of the program and the wire.",
		ConstLabels: prometheus.Labels{"version": version, "wire": strconv.Itoa(gossip.Version)}})
	build.Set(1)
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	m.register(collector{a, &queueLabels{given: map[string]bool{}}}, m.Panics, m.tools, m.reloads, build)
	return m
}

// metric shows one number of Stats.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*agent.Stats) float64
}

func counter(name, help string, value func(*agent.Stats) uint64) metric {
	return metric{desc(name, help), prometheus.CounterValue, func(s *agent.Stats) float64 { return float64(value(s)) }}
}

func gauge(name, help string, value func(*agent.Stats) int) metric {
	return metric{desc(name, help), prometheus.GaugeValue, func(s *agent.Stats) float64 { return float64(value(s)) }}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sentinel_"+name, help, labels, nil)
}

var metrics = []metric{
	counter("reads_total", "Reads of keys on this peer, Get sampled one call in 64.", func(s *agent.Stats) uint64 { return s.Reads }),
	counter("writes_total", "Writes made on this peer.", func(s *agent.Stats) uint64 { return s.Writes }),
	counter("conflicts_total", "Concurrent writes of which one lost.", func(s *agent.Stats) uint64 { return s.Conflicts }),
	counter("cache_hits_total", "Decoded values found in the cache.", func(s *agent.Stats) uint64 { return s.CacheHits }),
	counter("cache_misses_total", "Decoded values not found in the cache.", func(s *agent.Stats) uint64 { return s.CacheMisses }),
	counter("cache_invalidated_total", "Cached values dropped because their key changed.", func(s *agent.Stats) uint64 { return s.Invalidated }),
	counter("merged_total", "Remote deltas merged.", func(s *agent.Stats) uint64 { return s.Store.Merged }),
	counter("merge_duplicates_total", "Remote deltas seen before.", func(s *agent.Stats) uint64 { return s.Store.Duplicates }),
	counter("merge_superseded_total", "Remote deltas overwritten when they came.", func(s *agent.Stats) uint64 { return s.Store.Superseded }),
	counter("merge_quarantined_total", "Remote deltas set aside because they are from too far in the future.", func(s *agent.Stats) uint64 { return s.Store.Quarantined }),
	counter("merge_rivals_total", "Second contents of a write that came: of a liar, a copy, or broken memory.", func(s *agent.Stats) uint64 { return s.Store.Rivals }),
	counter("expired_total", "Records that reached their expiry.", func(s *agent.Stats) uint64 { return s.Store.Expired }),
	counter("collected_total", "Removals forgotten because every peer has them.", func(s *agent.Stats) uint64 { return s.Store.Collected }),
	counter("truncated_total", "Removals forgotten early because there were too many.", func(s *agent.Stats) uint64 { return s.Store.Truncated }),
	counter("reconciled_total", "Records dropped because another peer had superseded them.", func(s *agent.Stats) uint64 { return s.Store.Dropped }),
	counter("gossip_frames_sent_total", "Frames sent.", func(s *agent.Stats) uint64 { return s.Gossip.FramesSent }),
	counter("gossip_frames_received_total", "Frames received.", func(s *agent.Stats) uint64 { return s.Gossip.FramesReceived }),
	counter("gossip_sent_bytes_total", "Bytes of frames sent.", func(s *agent.Stats) uint64 { return s.Gossip.BytesSent }),
	counter("gossip_received_bytes_total", "Bytes of frames received.", func(s *agent.Stats) uint64 { return s.Gossip.BytesReceived }),
	counter("gossip_gap_requests_total", "Requests for what was missing.", func(s *agent.Stats) uint64 { return s.Gossip.GapRequests }),
	counter("gossip_sync_requests_total", "Requests for everything above a context.", func(s *agent.Stats) uint64 { return s.Gossip.SyncRequests }),
	counter("gossip_contexts_held_total", "Ends of syncs that told of writes which nobody else had spoken of.", func(s *agent.Stats) uint64 { return s.Gossip.ContextsHeld }),
	counter("gossip_reconciliations_total", "Checksums that differed on equal contexts.", func(s *agent.Stats) uint64 { return s.Gossip.Reconciliations }),
	counter("heartbeats_sent_total", "Leases of workers told to peers.", func(s *agent.Stats) uint64 { return s.Gossip.BeatsSent }),
	counter("heartbeats_received_total", "Leases of workers heard from peers.", func(s *agent.Stats) uint64 { return s.Gossip.BeatsReceived }),
	counter("flushes_total", "Batches of writes handed to peers.", func(s *agent.Stats) uint64 { return s.Flushes }),
	counter("gossip_queue_overflows_total", "Peers too slow for their queue.", func(s *agent.Stats) uint64 { return s.Gossip.Overflows }),
	counter("log_lines_dropped_total", "Lines of the log that its handler was too slow for.", func(s *agent.Stats) uint64 { return s.LinesDropped }),
	counter("frames_dropped_total", "Frames that arrived faster than they could be taken.", func(s *agent.Stats) uint64 { return s.FramesDropped }),
	counter("rejoin_attempts_total", "Addresses dialled to find lost peers.", func(s *agent.Stats) uint64 { return s.Transport.RejoinAttempts }),
	counter("heals_total", "Lost peers that came back.", func(s *agent.Stats) uint64 { return s.Transport.Heals }),
	gauge("keys", "Keys that hold something.", func(s *agent.Stats) int { return s.Store.Keys }),
	gauge("live_records", "Live records, removals included.", func(s *agent.Stats) int { return s.Store.Live }),
	gauge("removals", "Removals that wait to be seen by every peer.", func(s *agent.Stats) int { return s.Store.Removals }),
	gauge("gossip_disputed_records", "Records that one peer says are gone, and that stay until another says so or ten minutes have passed.", func(s *agent.Stats) int { return s.Gossip.Disputed }),
	gauge("store_bytes", "About how many bytes the live records take on the wire.", func(s *agent.Stats) int { return s.Store.Bytes }),
	gauge("store_memory_bytes", "About how many bytes the store takes in memory: keys, values, overhead, and what lost conflicts.", func(s *agent.Stats) int { return s.Store.Memory }),
	gauge("store_limit_bytes", "How many bytes of memory writes here may fill.", func(s *agent.Stats) int { return s.Store.Limit }),
	counter("store_refused_total", "Writes here that were refused because the store was full.", func(s *agent.Stats) uint64 { return s.Store.Refused }),
	gauge("actors", "Lives of peers that ever wrote.", func(s *agent.Stats) int { return s.Store.Actors }),
	gauge("pending_writes", "Deltas that wait for peers.", func(s *agent.Stats) int { return s.PendingWrites }),
	gauge("gossip_queue_bytes", "Bytes that wait for peers.", func(s *agent.Stats) int { return s.Gossip.QueuedBytes }),
	gauge("subscriptions", "Open watches.", func(s *agent.Stats) int { return s.Subscriptions }),
	gauge("cache_entries", "Decoded values in the cache.", func(s *agent.Stats) int { return s.CacheSize }),
	gauge("backlog_bytes", "Bytes written here that are not carried out yet: at their bound, writes wait.", func(s *agent.Stats) int { return s.Backlog }),
	gauge("missing_addresses", "Known addresses without a live peer.", func(s *agent.Stats) int { return s.Transport.Missing }),
	gauge("stability_blockers", "Peers that are down and keep removals from being forgotten.", func(s *agent.Stats) int { return len(s.Blocking) }),
}

// lock shows one number of the lock service's Stats.
type lock struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*lockservice.Stats) float64
}

var locks = []lock{
	{desc("locks_held", "Leases held through this peer."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return float64(s.Held) }},
	{desc("locks_waiting", "Callers of this peer that wait for a lock."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return float64(s.Waiting) }},
	{desc("locks_lost_total", "Leases held through this peer that ended before they were released."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Lost) }},
	{desc("locks_lapsed_total", "Leases of clients that ran out at this peer: given up, or renewed or released at another."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Lapsed) }},
	{desc("locks_grants_total", "Rounds that a majority certified for this peer as owner, renewals among them."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Grants) }},
	{desc("locks_splits_total", "Rounds of this peer as owner that ended in a split vote."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Splits) }},
	{desc("locks_refused_total", "Rounds that this peer refused as voter."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Refused) }},
	{desc("locks_messages_total", "Messages of the lock service received."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Messages) }},
	{desc("locks_bad_packets_total", "Packets of the lock service that were malformed."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Bad) }},
	{desc("locks_quarantine_seconds", "Until this voter, which has just started, certifies leases; 0 if it does."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return s.Quarantine.Seconds() }},
	{desc("locks_fresh_seconds", "Until this voter, which has just started, has heard of every lease again, and another may stop; 0 if it has."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return s.Fresh.Seconds() }},
}

// labelled is a family whose label values are few and fixed by the code.
type labelled struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(*agent.Stats) map[string]float64
}

var families = []labelled{
	{desc("members", "Known peers.", "state"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Members) }},
	{desc("workers", "Workers that beat, or are out of sight.", "state"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Workers) }},
	{desc("peer_problems", "Live peers with a problem.", "problem"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Problems) }},
	{desc("frames_refused_total", "Frames that were malformed, foreign or too large.", "reason"), prometheus.CounterValue, func(s *agent.Stats) map[string]float64 { return floats(s.Gossip.Refused) }},
	{desc("transport_drops_total", "Frames lost in the transport.", "cause"), prometheus.CounterValue, func(s *agent.Stats) map[string]float64 { return floats(s.Transport.Drops) }},
	{desc("transport_refused_total", "Connections and packets turned away.", "cause"), prometheus.CounterValue, func(s *agent.Stats) map[string]float64 { return floats(s.Transport.Refused) }},
}

func floats[N int | uint64](m map[string]N) map[string]float64 {
	f := make(map[string]float64, len(m))
	for k, n := range m {
		f[k] = float64(n)
	}
	return f
}

type collector struct {
	a      *agent.Agent
	queues *queueLabels
}

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	describePeers(ch)
	c.queues.describe(ch)
	for _, m := range metrics {
		ch <- m.desc
	}
	for _, l := range locks {
		ch <- l.desc
	}
	for _, f := range families {
		ch <- f.desc
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.a.Stats()
	collectPeers(c.a, &s, time.Now(), ch)
	c.queues.collect(s.Queues, ch)
	for _, m := range metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s))
	}
	held := c.a.Locks().Stats()
	for _, l := range locks {
		ch <- prometheus.MustNewConstMetric(l.desc, l.kind, l.value(&held))
	}
	for _, f := range families {
		for label, v := range f.values(&s) {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, label)
		}
	}
}
