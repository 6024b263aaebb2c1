// Package agent embeds a peer: a shared memory that every member of a cluster
// reads and writes locally, and that converges by itself.
//
//	a, err := agent.Open(ctx, agent.Config{Name: "worker-1", Cluster: "farm", Seeds: seeds})
//	err = a.Put(ctx, "tasks/42/owner", "worker-1")
//	v, ok := a.Get("tasks/42/owner")
//	sub, err := a.Watch(ctx, "tasks/**", agent.WithSnapshot())
//	err = a.Close(ctx)
//
// What fleets share has calls of its own, at fixed keys that other languages use too (see
// package fleet):
//
//	err = a.Tasks().SetState(ctx, "42", fleet.TaskState{Status: "running"})
//	err = a.Agents().SetCoordination(ctx, "42", "coder", fleet.AgentInfo{Status: "done"})
//	workers, err := a.Workers().Find(1, "gpu")  // active, by heartbeat, with room for one more
//	state, err := a.Queue().State()             // read, change, write back
//
// The peer itself is a state machine without a clock or goroutine
// (internal/replica), behind one mutex (internal/memory). This package is the shell around
// it: one loop feeds it frames and time, and carries out what comes out,
// subscribers first, then the network; readers take no lock, for the store
// publishes what they need.
//
// Invariants:
//
//	I1  When a write returns, this peer's readers see it
//	    (TestAQueueIsReadWithOnesOwnWrites).
//	I2  No I/O and no user code runs under the lock. Log handlers run aside, and
//	    what they do or do not holds up nothing (TestALogHandlerThatBlocksHoldsUpNothing).
//	I3  Every queue is bounded and says what happens when it is full: writes wait
//	    (within their context), frames are dropped and repaired, subscribers lag
//	    and are told (TestASlowSubscriberIsBoundInBytes).
//	I4  After Close no goroutine is left, but for one that a log handler does not
//	    return from. Calls that can fail return ErrClosed. Those that cannot, Get,
//	    Entry, Members, Vector, Alternatives and Stats among them, answer what was
//	    last known here: a read costs too little to ask whether it is too late
//	    (TestEveryCallIsRefusedAfterClose).
//
// Limits: keys 1 KiB, values 1 MiB and 32 deep, 1,024 writes a batch.
package agent
