// Package rival runs what users would take instead, for measurements in the same
// run: NATS JetStream and etcd in this process, redsync and asynq over redis-server,
// and grafana/dskit's memberlist KV in a process of its own, because dskit needs
// Grafana's fork of memberlist in place of the original that this project stands on,
// and one binary has room for one of them.
package rival
