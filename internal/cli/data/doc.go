// Package data is the commands that read and change what a cluster shares: keys, the records of
// tasks and workers, queues and locks.
package data
