// Package workqueue is queues whose items are claimed, by one worker at a time, under a
// lease that a majority of voters certifies.
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
// What an item is and what becomes of it is decided by a machine without a clock or
// goroutine (internal/queue), one for each queue at each peer. This package is the shell
// around it: locks, timers, and the writes that tell the other peers.
//
// Besides its own errors, calls return agent.ErrClosed, agent.ErrNotFound, those of
// package lockservice, and those of writes.
package workqueue
