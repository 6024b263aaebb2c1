// Package keyspace says where the keys of tasks, workers, agents and work queues stand
// and of which type they are. They are the same for a worker in any language.
package keyspace
