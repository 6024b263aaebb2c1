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
		Help: "Lines of the log that standard error did not take in time."}, func() float64 { return float64(lost()) }))
}

// New returns the metrics of a, of this version of the program, of Go and the process.
func New(a *agent.Agent, version string) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		Handler:  promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r}),
		Panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "sentinel_http_panics_total", Help: "HTTP requests that panicked; each is a fault to report."}),
		tools:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sentinel_mcp_tool_calls_total", Help: "Calls of MCP tools, by tool and result: ok, or error."}, []string{"tool", "result"}),
		reloads:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sentinel_reload_ok", Help: "1 if the last reload of keys, tokens, certificate, settings or voters was taken; 0 if it was refused, for the reason in the log."}, []string{"what"}),
		registry: r,
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sentinel_build_info", Help: "Always 1; the labels name the version of the program and of the wire.",
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
	counter("reads_total", "Reads of keys on this peer; Get is sampled, one call in 64.", func(s *agent.Stats) uint64 { return s.Reads }),
	counter("writes_total", "Writes made on this peer.", func(s *agent.Stats) uint64 { return s.Writes }),
	counter("conflicts_total", "Concurrent writes that lost.", func(s *agent.Stats) uint64 { return s.Conflicts }),
	counter("cache_hits_total", "Decoded values found in the cache.", func(s *agent.Stats) uint64 { return s.CacheHits }),
	counter("cache_misses_total", "Decoded values not found in the cache.", func(s *agent.Stats) uint64 { return s.CacheMisses }),
	counter("cache_invalidated_total", "Cached values dropped because their key changed.", func(s *agent.Stats) uint64 { return s.Invalidated }),
	counter("merged_total", "Remote deltas merged.", func(s *agent.Stats) uint64 { return s.Store.Merged }),
	counter("merge_duplicates_total", "Remote deltas that this peer had seen before.", func(s *agent.Stats) uint64 { return s.Store.Duplicates }),
	counter("merge_superseded_total", "Remote deltas that were overwritten before they arrived.", func(s *agent.Stats) uint64 { return s.Store.Superseded }),
	counter("merge_quarantined_total", "Remote deltas set aside because they are from too far in the future.", func(s *agent.Stats) uint64 { return s.Store.Quarantined }),
	counter("merge_rivals_total", "Writes that arrived with a second content: from a liar, a copy of a peer, or broken memory.", func(s *agent.Stats) uint64 { return s.Store.Rivals }),
	counter("expired_total", "Records that reached their expiry.", func(s *agent.Stats) uint64 { return s.Store.Expired }),
	counter("collected_total", "Removals that were forgotten because every known peer has them.", func(s *agent.Stats) uint64 { return s.Store.Collected }),
	counter("truncated_total", "Removals that were forgotten early because there were too many.", func(s *agent.Stats) uint64 { return s.Store.Truncated }),
	counter("reconciled_total", "Records dropped because another peer had superseded them.", func(s *agent.Stats) uint64 { return s.Store.Dropped }),
	counter("gossip_frames_sent_total", "Frames sent.", func(s *agent.Stats) uint64 { return s.Gossip.FramesSent }),
	counter("gossip_frames_received_total", "Frames received.", func(s *agent.Stats) uint64 { return s.Gossip.FramesReceived }),
	counter("gossip_sent_bytes_total", "Bytes of frames sent.", func(s *agent.Stats) uint64 { return s.Gossip.BytesSent }),
	counter("gossip_received_bytes_total", "Bytes of frames received.", func(s *agent.Stats) uint64 { return s.Gossip.BytesReceived }),
	counter("gossip_gap_requests_total", "Requests for missing writes.", func(s *agent.Stats) uint64 { return s.Gossip.GapRequests }),
	counter("gossip_sync_requests_total", "Requests to sync: for everything above a context.", func(s *agent.Stats) uint64 { return s.Gossip.SyncRequests }),
	counter("gossip_contexts_held_total", "Contexts at the end of a sync that no second source confirmed yet, so this peer held them.", func(s *agent.Stats) uint64 { return s.Gossip.ContextsHeld }),
	counter("gossip_reconciliations_total", "Reconciliations: checksums differed although contexts were equal.", func(s *agent.Stats) uint64 { return s.Gossip.Reconciliations }),
	counter("heartbeats_sent_total", "Heartbeats of workers sent to peers.", func(s *agent.Stats) uint64 { return s.Gossip.BeatsSent }),
	counter("heartbeats_received_total", "Heartbeats of workers received from peers.", func(s *agent.Stats) uint64 { return s.Gossip.BeatsReceived }),
	counter("flushes_total", "Batches of writes handed to peers.", func(s *agent.Stats) uint64 { return s.Flushes }),
	counter("gossip_queue_overflows_total", "Times that a peer was too slow for its queue, which was dropped.", func(s *agent.Stats) uint64 { return s.Gossip.Overflows }),
	counter("log_lines_dropped_total", "Lines of the log that were dropped because the log handler was too slow.", func(s *agent.Stats) uint64 { return s.LinesDropped }),
	counter("frames_dropped_total", "Frames dropped because they arrived faster than this peer could process them.", func(s *agent.Stats) uint64 { return s.FramesDropped }),
	counter("rejoin_attempts_total", "Attempts to dial an address of a lost peer.", func(s *agent.Stats) uint64 { return s.Transport.RejoinAttempts }),
	counter("heals_total", "Lost peers that this peer found again.", func(s *agent.Stats) uint64 { return s.Transport.Heals }),
	gauge("keys", "Keys that hold a value.", func(s *agent.Stats) int { return s.Store.Keys }),
	gauge("live_records", "Live records, removals included.", func(s *agent.Stats) int { return s.Store.Live }),
	gauge("removals", "Removals that not every known peer has seen yet.", func(s *agent.Stats) int { return s.Store.Removals }),
	gauge("gossip_disputed_records", "Records that one peer says are gone; they stay until another peer says so too, or for ten minutes.", func(s *agent.Stats) int { return s.Gossip.Disputed }),
	gauge("store_bytes", "Bytes that the live records take on the wire, estimated.", func(s *agent.Stats) int { return s.Store.Bytes }),
	gauge("store_memory_bytes", "Bytes of memory that the store takes, estimated: keys, values, overhead and the journal of conflicts.", func(s *agent.Stats) int { return s.Store.Memory }),
	gauge("store_limit_bytes", "Bytes of memory that writes on this peer may fill.", func(s *agent.Stats) int { return s.Store.Limit }),
	counter("store_refused_total", "Writes on this peer that were refused because the store was full.", func(s *agent.Stats) uint64 { return s.Store.Refused }),
	gauge("actors", "Actors that ever wrote: each start of a peer is one.", func(s *agent.Stats) int { return s.Store.Actors }),
	gauge("pending_writes", "Deltas that wait for peers.", func(s *agent.Stats) int { return s.PendingWrites }),
	gauge("gossip_queue_bytes", "Bytes of deltas that wait to be sent to peers.", func(s *agent.Stats) int { return s.Gossip.QueuedBytes }),
	gauge("subscriptions", "Open watches.", func(s *agent.Stats) int { return s.Subscriptions }),
	gauge("cache_entries", "Decoded values in the cache.", func(s *agent.Stats) int { return s.CacheSize }),
	gauge("backlog_bytes", "Bytes written on this peer and not yet carried out; at their bound writes wait.", func(s *agent.Stats) int { return s.Backlog }),
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
	{desc("locks_grants_total", "Rounds of this peer as owner that a majority certified: grants, and renewals of single leases."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Grants) }},
	{desc("locks_splits_total", "Rounds of this peer as owner that ended in a split vote."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Splits) }},
	{desc("locks_refused_total", "Rounds that this peer refused as voter."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Refused) }},
	{desc("locks_messages_total", "Messages of the lock service received."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Messages) }},
	{desc("locks_bad_packets_total", "Packets of the lock service that were malformed."), prometheus.CounterValue, func(s *lockservice.Stats) float64 { return float64(s.Bad) }},
	{desc("locks_quarantine_seconds", "Seconds until this voter, which has just started, certifies leases; 0 if it does."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return s.Quarantine.Seconds() }},
	{desc("locks_fresh_seconds", "Seconds until this voter, which has just started, knows every lease again and another voter may stop; 0 if it does."), prometheus.GaugeValue, func(s *lockservice.Stats) float64 { return s.Fresh.Seconds() }},
}

// labelled is a family whose label values are few and fixed by the code.
type labelled struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(*agent.Stats) map[string]float64
}

var families = []labelled{
	{desc("members", "Known peers.", "state"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Members) }},
	{desc("workers", "Workers that are active or unreachable.", "state"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Workers) }},
	{desc("peer_problems", "Live peers with a problem.", "problem"), prometheus.GaugeValue, func(s *agent.Stats) map[string]float64 { return floats(s.Problems) }},
	{desc("frames_refused_total", "Frames refused as malformed, foreign or too large.", "reason"), prometheus.CounterValue, func(s *agent.Stats) map[string]float64 { return floats(s.Gossip.Refused) }},
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
