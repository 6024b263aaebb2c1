package keyspace

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// These are the trees of keys. Below each of them, an id is one segment.
const (
	Root         = "task-sentinel"
	Tasks        = Root + "/tasks/"
	Workers      = Root + "/workers/"
	Queues       = Root + "/queues/"
	Coordination = Root + "/coordination/"
)

// These are the parts of a record's key after the id, and the keys of records without an id.
const (
	State     = "/state"     // of a task
	Progress  = "/progress"  // of a task
	Lock      = "/lock"      // of a task
	Agents    = "/agents"    // of a task; an agent's record is one segment below
	Status    = "/status"    // of a worker
	Capacity  = "/capacity"  // of a worker
	Heartbeat = "/heartbeat" // of a worker

	Queue       = Coordination + "queue"
	Assignments = Coordination + "assignments"
	Metrics     = Coordination + "metrics"
)

// Rules returns a user's own rules, followed by those that give the keys above their types.
func Rules(own []crdt.Rule) []crdt.Rule {
	return slices.Concat(own, []crdt.Rule{
		{Pattern: Tasks + "*" + State, Kind: crdt.Object},
		{Pattern: Tasks + "*" + Progress, Kind: crdt.Object},
		{Pattern: Tasks + "*" + Lock, Kind: crdt.Register},
		{Pattern: Tasks + "*" + Agents + "/*", Kind: crdt.Object},
		{Pattern: Workers + "*" + Status, Kind: crdt.Register},
		{Pattern: Workers + "*" + Capacity, Kind: crdt.Register},
		{Pattern: Workers + "*" + Heartbeat, Kind: crdt.Register},
		{Pattern: Queue, Kind: crdt.Object},
		{Pattern: Assignments, Kind: crdt.Object},
		{Pattern: Metrics, Kind: crdt.Object},
	})
}
