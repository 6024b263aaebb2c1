package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// HTTP adds the metrics of a server, which stats returns.
func (m *Metrics) HTTP(stats func() httpapi.Stats) { m.register(httpCollector(stats)) }

type httpCollector func() httpapi.Stats

var (
	httpRequests    = desc("http_requests_total", "HTTP requests that reached the router, by operation or mounted pattern.", "operation")
	httpProblems    = desc("http_problems_total", "HTTP requests answered with a problem, by its code.", "code")
	httpRunning     = desc("http_requests_running", "Running HTTP requests, without streams and waits.")
	httpStreams     = desc("http_streams", "Open streams of events, and requests that wait for a lock or an item.")
	httpConnections = desc("http_connections", "Open HTTP connections.")
)

func (httpCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{httpRequests, httpProblems, httpRunning, httpStreams, httpConnections} {
		ch <- d
	}
}

func (c httpCollector) Collect(ch chan<- prometheus.Metric) {
	s := c()
	for op, n := range s.Requests {
		ch <- prometheus.MustNewConstMetric(httpRequests, prometheus.CounterValue, float64(n), op)
	}
	for code, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(httpProblems, prometheus.CounterValue, float64(n), code)
	}
	ch <- prometheus.MustNewConstMetric(httpRunning, prometheus.GaugeValue, float64(s.Running))
	ch <- prometheus.MustNewConstMetric(httpStreams, prometheus.GaugeValue, float64(s.Streams))
	ch <- prometheus.MustNewConstMetric(httpConnections, prometheus.GaugeValue, float64(s.Connections))
}
