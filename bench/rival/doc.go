// Package rival runs the alternatives to this project, for measurements in the same run:
// NATS JetStream and etcd in this process, redsync and asynq over redis-server, and the
// memberlist KV of grafana/dskit in a process of its own. Dskit needs Grafana's fork of
// memberlist, this project needs the original, and one binary can have only one of them.
package rival
