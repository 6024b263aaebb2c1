// Package data is the commands that read and change what a cluster shares: keys, records of
// tasks and workers, queues, locks.
package data
