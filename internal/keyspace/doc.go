// Package keyspace names the keys of tasks, workers, agents and work queues, and their types. The
// keys are the same for workers in every language.
package keyspace
