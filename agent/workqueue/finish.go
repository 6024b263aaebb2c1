package workqueue

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

// Complete says that the work is done; result is kept for Config.Retention, see
// Queue.Get. It returns nil once a majority of voters knows, and the claim still
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
		if c.q.s.host.Memory.Closed() {
			c.q.s.giveBack(c)
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
	if !c.q.s.submit(w) {
		c.x.do(func(*queue.Index, time.Time) { w.Ending.Unwritten() })
		c.q.s.giveBack(c)
		return c.fault(memory.ErrClosed)
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
func (s *Queues) submit(w *verdictWrite) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.waits = append(s.waits, w)
	if !s.busy {
		s.busy = true
		s.host.Go(s.finisher) // under the lock: not after Close began to wait
	}
	return true
}

// finisher writes verdicts: those that came while the last were under way share a write
// and the acknowledgements that it waits for.
func (s *Queues) finisher() {
	for {
		s.mu.Lock()
		n := min(len(s.waits), crdt.MaxOps)
		batch := slices.Clone(s.waits[:n])
		s.waits = slices.Delete(s.waits, 0, n)
		s.busy = n > 0
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.decide(batch)
	}
}

// decide makes verdicts valid, or says why they are not.
func (s *Queues) decide(batch []*verdictWrite) {
	s.record(batch)
	batch = slices.DeleteFunc(batch, (*verdictWrite).unwritten)
	err := s.waitVoters(func() bool {
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
		if err := s.host.Memory.Write(context.Background(), memory.Manner{}, gone...); err != nil && !s.host.Memory.Closed() {
			s.host.Log.Warn("items that are done are not removed; they go when their results expire", "items", len(gone), "err", err)
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
func (s *Queues) record(batch []*verdictWrite) {
	ops := make([]crdt.Op, len(batch))
	for i, w := range batch {
		ops[i] = w.Op
	}
	if err := s.host.Memory.Write(context.Background(), memory.Manner{Urgent: true}, ops...); err != nil {
		for _, w := range batch {
			w.err = s.host.Memory.Write(context.Background(), memory.Manner{Urgent: true}, w.Op)
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
		if goesOn = w.Ending.Unwritten(); goesOn && gone {
			w.Ending, _ = core.Fail(now, w.c.core, queue.Failure{Reason: w.err.Error()})
		}
	})
	switch {
	case goesOn && gone:
		w.err = nil
		w.c.q.s.record([]*verdictWrite{w})
		return false
	case goesOn:
		w.decided <- w.c.fault(w.err)
	}
	return goesOn
}

// waitVoters waits until a majority of voters has acknowledged what was written here, or
// nothing depends on it any more.
func (s *Queues) waitVoters(matters func() bool) error {
	return s.host.Memory.Acked(context.Background(), memory.Wait{
		Again:   100 * time.Millisecond,
		Closing: s.host.Memory.Closing(),
		Enough: func(v replica.View, last uint64) bool {
			return queue.Acknowledged(s.voters(), s.host.Name, v.AckedBy(last))
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
	event := ItemFailed
	switch state := w.State(); {
	case !valid:
		event = ClaimLost
		if w.err == nil {
			w.err = errLate
		}
	case state == queue.Done:
		event = ItemCompleted
	case state == queue.Dead:
		event = ItemDead
	}
	c.q.s.host.Emit(event, c.q.name+"/"+c.ID)
	return remove
}

// Sweep removes what says nothing any more, now and then until ctx ends.
func (s *Queues) Sweep(ctx context.Context) {
	now := time.NewTicker(sweepEvery)
	defer now.Stop()
	for {
		select {
		case <-now.C:
			s.sweep()
		case <-ctx.Done():
			return
		}
	}
}

const sweepEvery = 10 * time.Second

// sweep deletes what indexes found to say nothing any more.
func (s *Queues) sweep() {
	s.each(func(x *index) {
		var ops []crdt.Op
		x.do(func(core *queue.Index, _ time.Time) { ops = core.Stale(crdt.MaxOps) })
		if len(ops) > 0 {
			_ = s.host.Memory.Write(context.Background(), memory.Manner{}, ops...) // else they expire
		}
	})
}

// giveBack ends the claim of a worker that has stopped because the agent closes.
func (s *Queues) giveBack(c *Claim) {
	var end *queue.Ending
	ok := false
	c.x.do(func(core *queue.Index, now time.Time) { end, ok = core.Stop(now, c.core) })
	if !ok || c.bearer {
		return
	}
	s.mu.Lock()
	s.last = append(s.last, end.Op)
	s.mu.Unlock()
	lockservice.UnlockEach([]*lockservice.Lease{c.lease}) // not under the index's lock, which a session takes under its own
}

// Retreat returns what is to be written of the claims that were given back after Close.
func (s *Queues) Retreat() []crdt.Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
