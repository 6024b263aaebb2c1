// Package workqueue has queues whose items workers claim. One worker at a time has the claim of an
// item, under a lease that a majority of voters certifies.
//
// A program gets the handle of a queue from its agent:
//
//	q := a.WorkQueue("mail")
//	id, err := q.Enqueue(ctx, letter, workqueue.WithPriority(5), workqueue.WithID("letter-7"))
//	c, err := q.Claim(ctx) // waits for an item
//	err = send(c.Context(), c.Value, c.Token())
//	if err != nil {
//		err = c.Fail(ctx, err) // it is tried again
//	} else {
//		err = c.Complete(ctx, nil)
//	}
//
// The rules of items and claims are in a machine without a clock or goroutine, an Index of
// internal/queue: one for each queue at each peer. This package is the shell around these machines. It
// asks the lock service for leases, runs timers, and makes the writes by which other peers learn of
// claims and of their verdicts.
//
// Besides the errors of this package, calls return agent.ErrClosed, agent.ErrNotFound, the errors of
// package lockservice, and the errors of an agent's writes.
package workqueue
