// Package agent embeds a peer in a program. The peers of a cluster share a memory of keys: each
// peer reads and writes its own replica, and the replicas converge without a server.
//
//	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm", Seeds: seeds})
//	err = a.Put(ctx, "tasks/42/owner", "worker-1")
//	v, ok := a.Get("tasks/42/owner")
//	sub, err := a.Watch(ctx, "tasks/**", agent.WithSnapshot())
//	err = a.Close(ctx)
//
// Tasks, agents, workers and the queue of a fleet have typed calls. They use fixed keys, which
// programs in other languages use too (see package fleet):
//
//	err = a.Tasks().SetState(ctx, "42", fleet.TaskState{Status: "running"})
//	err = a.Agents().SetCoordination(ctx, "42", "coder", fleet.AgentInfo{Status: "done"})
//	workers, err := a.Workers().Find(1, "gpu")  // active, by heartbeat, with room for one more
//	state, err := a.Queue().State()             // read, change, write back
//
// The rules of a peer are in a state machine without a clock or goroutine (internal/replica),
// which one mutex guards (internal/memory). This package is the shell around the machine. One
// goroutine, the loop, hands received frames and the time to the machine and carries out the
// effects that it returns: first the changes go to subscribers, then the envelopes go to the
// network. Readers of keys take no lock, since the store publishes its entries.
//
// In this package, a run is one process, or one Open, of the peer of a name. Each run has a new
// member id and writes as a new actor.
//
// Invariants:
//
//	I1  When a write returns, this peer's readers see it
//	    (TestAQueueIsReadWithOnesOwnWrites).
//	I2  No I/O and no user code runs under the lock. Log handlers run on a goroutine of
//	    their own and delay nothing (TestALogHandlerThatBlocksHoldsUpNothing).
//	I3  Every queue is bounded. When one is full, writes wait within their context,
//	    frames are dropped and repaired later, and a subscriber loses events and gets a
//	    lagged event (TestASlowSubscriberIsBoundInBytes).
//	I4  After Close no goroutine is left, except one in a log handler that does not
//	    return. Calls with an error result return ErrClosed. Calls without one, such as
//	    Get, Entry, Members, Vector, Alternatives and Stats, return the last state of
//	    this peer (TestEveryCallIsRefusedAfterClose).
//
// Limits: a key has up to 1 KiB, a value up to 1 MiB and 32 levels, and a batch up to 1,024
// writes.
package agent
