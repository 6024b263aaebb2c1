// Package metrics shows an agent's Stats to Prometheus, in a registry of its own,
// beside the usual metrics of Go and the process.
package metrics
