package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// FailOption changes what happens to an item after Fail.
type FailOption func(*queue.Failure)

// WithRetryAfter has the next attempt wait for d, up to 24 h, instead of a back-off of a
// second that doubles with every attempt, up to five minutes.
func WithRetryAfter(d time.Duration) FailOption { return func(f *queue.Failure) { f.After = &d } }

// WithoutRetry makes the item dead, whatever attempts it has left.
func WithoutRetry() FailOption { return func(f *queue.Failure) { f.Dead = true } }

// Complete says that the work is done; result is kept for QueueConfig.Retention, see
// WorkQueue.Get. It returns nil once a majority of voters knows, and the claim still
// held: nobody will ever claim the item again, and no other Complete of it returns nil.
// Else it fails with ErrClaimLost: the item may be tried again, or, if the answers of
// the voters were all that was missing, be done with this result. With a result of more
// than about 1 KiB that a full store has no room for, it fails with a *crdt.FullError,
// and the claim goes on: complete it with a shorter one. If ctx is over by then, nobody
// would, and the attempt has failed.
func (c *Claim) Complete(ctx context.Context, result any) error {
	v, err := ResultOf(result)
	if err != nil {
		return c.fault(err)
	}
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Complete(now, c.core, v) })
}

// maxReason bounds what is kept of the error of an attempt, in bytes.
const maxReason = 1024

// MaxResult is how long the result of an item may be, in bytes of crdt.Value.Raw: it shares
// a value with the rest of the claim's record.
const MaxResult = wire.MaxValueBytes - 4<<10

// ResultOf returns a result as Complete keeps it. It fails for what is no value, as
// crdt.ValueOf does, for one of more than MaxResult bytes, and for one nested deeper than
// 31: the record around it is one level.
func ResultOf(result any) (crdt.Value, error) {
	v, err := crdt.ValueOf(result)
	if err != nil || v.IsZero() {
		return v, err
	}
	if len(v.Raw()) > MaxResult {
		return crdt.Value{}, &wire.ValueError{Reason: fmt.Sprintf("a result of %d bytes; at most %d are allowed", len(v.Raw()), MaxResult)}
	}
	if _, err := crdt.RawValue(append(wire.AppendArray(nil, 1), v.Raw()...)); err != nil {
		return crdt.Value{}, &wire.ValueError{Reason: fmt.Sprintf("a result nested deeper than %d", wire.MaxDepth-1)}
	}
	return v, nil
}

// Fail says that the work did not succeed. The item is tried again after a back-off with
// jitter; after its last attempt it is dead. It returns as Complete does.
func (c *Claim) Fail(ctx context.Context, cause error, opts ...FailOption) error {
	f := queue.Failure{Reason: "failed"}
	if cause != nil {
		f.Reason = strings.ToValidUTF8(cause.Error(), "\uFFFD")
		f.Reason = strings.ToValidUTF8(f.Reason[:min(len(f.Reason), maxReason)], "") // not half a rune
	}
	for _, o := range opts {
		o(&f)
	}
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Fail(now, c.core, f) })
}

// Release gives the item back as if it had not been claimed.
func (c *Claim) Release(ctx context.Context) error {
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Release(now, c.core) })
}

// verdictWrite is what a claim is to say last.
type verdictWrite struct {
	*queue.Ending
	c       *Claim
	err     error
	decided chan error  // of capacity 1
	settled atomic.Bool // the caller waits no more, or the claim goes on: whichever was first
}

func (c *Claim) finish(ctx context.Context, end func(*queue.Index, time.Time) (*queue.Ending, bool)) error {
	if err := c.lease.Err(); err != nil {
		if c.q.a.mem.Closed() {
			c.q.a.queues.giveBack(c)
		}
		return c.fault(fmt.Errorf("%w: %w", ErrClaimLost, err))
	}
	w := &verdictWrite{c: c, decided: make(chan error, 1)}
	first := false
	if c.Remaining() > 0 {
		c.x.do(func(core *queue.Index, now time.Time) { w.Ending, first = end(core, now) })
	}
	if !first {
		return c.fault(fmt.Errorf("%w: it was finished already", ErrClaimLost))
	}
	if !c.q.a.queues.submit(c.q.a, w) {
		c.x.do(func(core *queue.Index, _ time.Time) { core.Unwritten(w.Ending) })
		c.q.a.queues.giveBack(c)
		return c.fault(ErrClosed)
	}
	select {
	case err := <-w.decided:
		return err
	case <-ctx.Done():
		if w.settled.Swap(true) { // its caller may finish it otherwise
			return <-w.decided
		}
		return c.fault(fmt.Errorf("not decided yet: %w", ctx.Err()))
	}
}

// submit hands w to the finisher, which runs while there is something to do.
func (q *queues) submit(a *Agent, w *verdictWrite) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waits = append(q.waits, w)
	if !q.busy {
		q.busy = true
		a.wg.Go(a.finisher) // under the lock: not after Close began to wait
	}
	return true
}

// finisher writes verdicts: those that came while the last were under way share a write
// and the acknowledgements that it waits for.
func (a *Agent) finisher() {
	q := &a.queues
	for {
		q.mu.Lock()
		n := min(len(q.waits), crdt.MaxOps)
		batch := slices.Clone(q.waits[:n])
		q.waits = slices.Delete(q.waits, 0, n)
		q.busy = n > 0
		q.mu.Unlock()
		if n == 0 {
			return
		}
		a.decide(batch)
	}
}

// decide makes verdicts valid, or says why they are not.
func (a *Agent) decide(batch []*verdictWrite) {
	a.record(batch)
	batch = slices.DeleteFunc(batch, (*verdictWrite).unwritten)
	err := a.waitVoters(func() bool {
		return slices.ContainsFunc(batch, func(w *verdictWrite) bool { return w.err == nil && w.c.Remaining() > 0 })
	})
	var leases []*lockservice.Lease
	var gone []crdt.Op
	for _, w := range batch {
		if w.err == nil {
			w.err = err
		}
		if op := w.conclude(); op.Key != "" {
			gone = append(gone, op)
		}
		if w.err == nil || !w.c.bearer { // else its bearer may finish it elsewhere
			leases = append(leases, w.c.lease)
		}
	}
	lockservice.UnlockEach(leases)
	if len(gone) > 0 {
		if err := a.mem.Write(context.Background(), memory.Manner{}, gone...); err != nil && !a.mem.Closed() {
			a.log.Warn("items that are done are not removed; they go when their results expire", "items", len(gone), "err", err)
		}
	}
	for _, w := range batch {
		if w.err != nil {
			w.err = w.c.fault(w.err)
		}
		w.decided <- w.err
	}
}

var errLate = fmt.Errorf("%w: it ended before a majority of voters knew that the item was finished", ErrClaimLost)

// record writes verdicts. One that cannot be written does not keep others from it.
func (a *Agent) record(batch []*verdictWrite) {
	ops := make([]crdt.Op, len(batch))
	for i, w := range batch {
		ops[i] = w.Op
	}
	if err := a.mem.Write(context.Background(), memory.Manner{Urgent: true}, ops...); err != nil {
		for _, w := range batch {
			w.err = a.mem.Write(context.Background(), memory.Manner{Urgent: true}, w.Op)
		}
	}
	for _, w := range batch {
		if w.err == nil {
			w.c.x.do(func(core *queue.Index, now time.Time) { core.Written(now, w.Ending) })
		}
	}
}

// unwritten reports whether a verdict had no room here, and says so: then the claim goes
// on, until its lease ends if it is a bearer's. Of others nobody may be there any more to
// finish it: then it has failed.
func (w *verdictWrite) unwritten() (goesOn bool) {
	if _, full := errors.AsType[*crdt.FullError](w.err); !full {
		return false
	}
	gone := w.settled.Swap(true) && !w.c.bearer
	w.c.x.do(func(core *queue.Index, now time.Time) {
		if goesOn = core.Unwritten(w.Ending); goesOn && gone {
			w.Ending, _ = core.Fail(now, w.c.core, queue.Failure{Reason: w.err.Error()})
		}
	})
	switch {
	case goesOn && gone:
		w.err = nil
		w.c.q.a.record([]*verdictWrite{w})
		return false
	case goesOn:
		w.decided <- w.c.fault(w.err)
	}
	return goesOn
}

// waitVoters waits until a majority of voters has acknowledged what was written here, or
// nothing depends on it any more.
func (a *Agent) waitVoters(matters func() bool) error {
	return a.mem.Acked(context.Background(), memory.Wait{
		Again:   100 * time.Millisecond,
		Closing: a.mem.Closing(),
		Enough: func(v replica.View, last uint64) bool {
			return queue.Acknowledged(a.voters(), a.cfg.Name, v.AckedBy(last))
		},
		Matters: func() error {
			if !matters() {
				return errLate
			}
			return nil
		},
	})
}

// conclude ends a claim after its verdict, and returns the removal of an item that is
// done.
func (w *verdictWrite) conclude() (remove crdt.Op) {
	c, valid := w.c, false
	c.stop()
	left := c.Remaining()
	if c.lease.Err() != nil {
		left = 0
	}
	c.x.do(func(core *queue.Index, now time.Time) {
		remove, valid = core.Conclude(now, w.Ending, w.err == nil, left)
		c.forget()
	})
	event := ItemFailedEvent
	switch state := w.State(); {
	case !valid:
		event = ClaimLostEvent
		if w.err == nil {
			w.err = errLate
		}
	case state == queue.Done:
		event = ItemCompletedEvent
	case state == queue.Dead:
		event = ItemDeadEvent
	}
	c.q.a.emit(LifecycleEvent{Type: event, Name: c.q.name + "/" + c.ID})
	return remove
}

// sweepAll sweeps now and then.
func (q *queues) sweepAll(ctx context.Context, a *Agent) {
	now := time.NewTicker(sweepEvery)
	defer now.Stop()
	for {
		select {
		case <-now.C:
			q.sweep(a)
		case <-ctx.Done():
			return
		}
	}
}

const sweepEvery = 10 * time.Second

// sweep deletes what indexes found to say nothing any more.
func (q *queues) sweep(a *Agent) {
	q.each(func(x *index) {
		var ops []crdt.Op
		x.do(func(core *queue.Index, _ time.Time) { ops = core.Stale(crdt.MaxOps) })
		if len(ops) > 0 {
			_ = a.mem.Write(context.Background(), memory.Manner{}, ops...) // else they expire
		}
	})
}

// giveBack ends the claim of a worker that has stopped because the agent closes.
func (q *queues) giveBack(c *Claim) {
	var end *queue.Ending
	ok := false
	c.x.do(func(core *queue.Index, now time.Time) { end, ok = core.Stop(now, c.core) })
	if !ok || c.bearer {
		return
	}
	q.mu.Lock()
	q.last = append(q.last, end.Op)
	q.mu.Unlock()
	lockservice.UnlockEach([]*lockservice.Lease{c.lease}) // not under the index's lock, which a session takes under its own
}

// retreat returns what is to be written of the claims that were given back.
func (q *queues) retreat() []crdt.Op {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}
