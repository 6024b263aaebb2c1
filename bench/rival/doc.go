// Package rival runs what users would take instead, for measurements in the same
// run: NATS JetStream KV in this process, grafana/dskit's memberlist KV in one of
// its own, because dskit needs Grafana's fork of memberlist in place of the
// original that this project stands on, and one binary has room for one of them.
package rival
