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

// WithRetryAfter delays the next attempt by d, up to MaxDelay. The default is a back-off of one second
// that doubles with every attempt, up to five minutes.
func WithRetryAfter(d time.Duration) FailOption { return func(f *queue.Failure) { f.After = &d } }

// WithoutRetry makes the item dead, even if it has attempts left.
func WithoutRetry() FailOption { return func(f *queue.Failure) { f.Dead = true } }

// Complete ends the claim with the verdict that the work is done. Queue.Get returns result for
// Config.Retention. Complete returns nil once a majority of voters has acknowledged the verdict while the
// lease lasted: then no worker claims the item again, and no other Complete of the item returns nil.
//
// Complete fails with ErrClaimLost if that did not happen before the lease ended. The item may be tried
// again then; it may also be done with this result, if the acknowledgements were only late. If the store
// is full and has no room for a result of more than about 1 KiB, Complete fails with a *crdt.FullError.
// The claim lasts on, and can be completed with a shorter result. If ctx has ended by then, the attempt
// counts as failed, unless the claim was made WithBearer. It also fails with the error of ctx, in
// which case the verdict may still become valid, with agent.ErrClosed, and with the errors of ResultOf.
func (c *Claim) Complete(ctx context.Context, result any) error {
	v, err := ResultOf(result)
	if err != nil {
		return c.fault(err)
	}
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Complete(now, c.core, v) })
}

// maxReason bounds the text of an attempt's error, in bytes.
const maxReason = 1024

// MaxResult is the greatest size of the result of an item, in bytes of crdt.Value.Raw. It is less than
// that of a value, because the result is part of the claim's record.
const MaxResult = wire.MaxValueBytes - 4<<10

// ResultOf returns the value that Complete keeps as the result of an item. It fails with a
// *crdt.ValueError for a result that crdt.ValueOf refuses, for one of more than MaxResult bytes, and for
// one of more than 31 levels, since the record around it is one level.
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

// Fail ends the claim with the verdict that the attempt failed because of cause, of which up to 1 KiB is
// kept. The item is tried again after a back-off with jitter. After its last attempt it is dead. Fail
// returns nil and errors as Complete does.
func (c *Claim) Fail(ctx context.Context, cause error, opts ...FailOption) error {
	f := queue.Failure{Reason: "failed"}
	if cause != nil {
		f.Reason = strings.ToValidUTF8(cause.Error(), "\uFFFD")
		f.Reason = strings.ToValidUTF8(f.Reason[:min(len(f.Reason), maxReason)], "") // the cut may fall within a rune
	}
	for _, o := range opts {
		o(&f)
	}
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Fail(now, c.core, f) })
}

// Release ends the claim and makes the item pending again. The attempt does not count. Release returns
// nil and errors as Complete does.
func (c *Claim) Release(ctx context.Context) error {
	return c.finish(ctx, func(core *queue.Index, now time.Time) (*queue.Ending, bool) { return core.Release(now, c.core) })
}

// verdictWrite is the ending of a claim on its way to the voters.
type verdictWrite struct {
	*queue.Ending
	c        *Claim
	err      error       // why the ending is not valid
	decided  chan error  // delivers the result to the caller; of capacity 1
	answered atomic.Bool // set by the caller when it stops waiting, or by keepOrFail when it has a result; only the first of them counts
}

// finish makes the ending that end returns, and waits, within ctx, until it is valid or has failed.
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
		if w.answered.Swap(true) { // the store was full: the caller must learn that it can finish the claim otherwise
			return <-w.decided
		}
		return c.fault(fmt.Errorf("not decided yet: %w", ctx.Err()))
	}
}

// submit queues w for the finisher, which it starts if it does not run. It returns false after Close.
func (s *Queues) submit(w *verdictWrite) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.endings = append(s.endings, w)
	if !s.finishing {
		s.finishing = true
		s.host.Go(s.finisher) // with mu held: the peer calls Close before it waits for its goroutines
	}
	return true
}

// finisher makes endings valid until none is left. Endings that are submitted while others are under way
// share the next write, and one wait for acknowledgements.
func (s *Queues) finisher() {
	for {
		s.mu.Lock()
		n := min(len(s.endings), crdt.MaxOps)
		batch := slices.Clone(s.endings[:n])
		s.endings = slices.Delete(s.endings, 0, n)
		s.finishing = n > 0
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.decide(batch)
	}
}

// decide writes the endings of a batch, waits for the voters, and gives each caller the result.
func (s *Queues) decide(batch []*verdictWrite) {
	s.record(batch)
	batch = slices.DeleteFunc(batch, (*verdictWrite).keepOrFail)
	err := s.waitVoters(func() bool {
		return slices.ContainsFunc(batch, func(w *verdictWrite) bool { return w.err == nil && w.c.Remaining() > 0 })
	})
	var leases []*lockservice.Lease
	var removals []crdt.Op
	for _, w := range batch {
		if w.err == nil {
			w.err = err
		}
		if op := w.conclude(); op.Key != "" {
			removals = append(removals, op)
		}
		if w.err == nil || !w.c.bearer { // a bearer may still finish its claim at another peer
			leases = append(leases, w.c.lease)
		}
	}
	lockservice.UnlockEach(leases)
	if len(removals) > 0 {
		if err := s.host.Memory.Write(context.Background(), memory.Manner{}, removals...); err != nil && !s.host.Memory.Closed() {
			s.host.Log.Warn("items that are done are not removed; they go when their results expire", "items", len(removals), "err", err)
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

// record writes endings as one batch. If that fails, it writes each one alone, so that one ending that
// cannot be written does not keep the others from being written.
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

// keepOrFail handles an ending for which the store had no room, and returns false for all others. If the
// caller still waits, keepOrFail gives it the error and returns true: the claim lasts on, and the caller
// may end it otherwise. If the caller has stopped waiting, nobody would end the claim: keepOrFail writes
// that the attempt failed, and returns false. A bearer's claim lasts on in any case.
func (w *verdictWrite) keepOrFail() (goesOn bool) {
	if _, full := errors.AsType[*crdt.FullError](w.err); !full {
		return false
	}
	abandoned := w.answered.Swap(true) && !w.c.bearer
	w.c.x.do(func(core *queue.Index, now time.Time) {
		if goesOn = w.Ending.Unwritten(); goesOn && abandoned {
			w.Ending, _ = core.Fail(now, w.c.core, queue.Failure{Reason: w.err.Error()})
		}
	})
	switch {
	case goesOn && abandoned:
		w.err = nil
		w.c.q.s.record([]*verdictWrite{w})
		return false
	case goesOn:
		w.decided <- w.c.fault(w.err)
	}
	return goesOn
}

// waitVoters waits until a majority of the voters has acknowledged every write made here before the call.
// It fails with errLate as soon as matters returns false.
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

// conclude ends the claim of an ending, whose validity it decides, and emits an event. It returns the
// removal of the item if the item is done.
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

// Sweep deletes obsolete records of claims every sweepEvery until ctx ends.
func (s *Queues) Sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sweep()
		case <-ctx.Done():
			return
		}
	}
}

const sweepEvery = 10 * time.Second

// sweep deletes the records that the indexes have found to be obsolete.
func (s *Queues) sweep() {
	s.each(func(x *index) {
		var ops []crdt.Op
		x.do(func(core *queue.Index, _ time.Time) { ops = core.Stale(crdt.MaxOps) })
		if len(ops) > 0 {
			_ = s.host.Memory.Write(context.Background(), memory.Manner{}, ops...) // records that are not deleted expire
		}
	})
}

// giveBack ends the claim of a worker that has stopped because the agent closes. LastWrites returns the
// write of its ending.
func (s *Queues) giveBack(c *Claim) {
	var end *queue.Ending
	ok := false
	c.x.do(func(core *queue.Index, now time.Time) { end, ok = core.Stop(now, c.core) })
	if !ok || c.bearer {
		return
	}
	s.mu.Lock()
	s.lastWrites = append(s.lastWrites, end.Op)
	s.mu.Unlock()
	lockservice.UnlockEach([]*lockservice.Lease{c.lease}) // without the index's lock, which the session takes while it holds its own
}

// LastWrites returns the endings of the claims that were given back after Close, for the peer to write.
func (s *Queues) LastWrites() []crdt.Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastWrites
}
