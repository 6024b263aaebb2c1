// Package fleet has the records by which the members of a fleet coordinate: the states of tasks and
// the holders of their locks, the records of agents in tasks, the workers with their heartbeats, and
// the fleet's queue as a scheduler keeps it. Each record is at a fixed key, so that programs in other
// languages use it too. Most are objects, which merge field by field.
//
// A program gets the handles from its agent:
//
//	err = a.Tasks().SetState(ctx, "42", fleet.TaskState{Status: "running"})
//	err = a.Agents().SetCoordination(ctx, "42", "coder", fleet.AgentInfo{Status: "done"})
//	workers, err := a.Workers().Find(1, "gpu") // active, by heartbeat, with room for one more
//	state, err := a.Queue().State()            // read, change, write back
//
// Errors are those of package agent: agent.ErrNotFound, agent.ErrClosed, and the errors of its writes.
package fleet
