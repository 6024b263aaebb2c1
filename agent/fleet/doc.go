// Package fleet is what the members of a fleet tell one another: tasks and who holds their
// locks, what agents do in a task, workers and whether they are alive, and the fleet's
// queue as a scheduler keeps it. Each is a typed record at a fixed key, which workers in
// other languages find too, and merges field by field.
//
// A program gets the handles from its agent:
//
//	err = a.Tasks().SetState(ctx, "42", fleet.TaskState{Status: "running"})
//	err = a.Agents().SetCoordination(ctx, "42", "coder", fleet.AgentInfo{Status: "done"})
//	workers, err := a.Workers().Find(1, "gpu") // active, by heartbeat, with room for one more
//	state, err := a.Queue().State()            // read, change, write back
//
// Errors are those of package agent: agent.memory.ErrNotFound, agent.memory.ErrClosed, and those of its
// writes.
package fleet
