package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// FailOption changes what happens to an item after Fail.
type FailOption func(*failOptions)

type failOptions struct {
	after time.Duration
	given bool
	dead  bool
}

// WithRetryAfter has the next attempt wait for d, up to 24 h, instead of a back-off of a
// second that doubles with every attempt, up to five minutes.
func WithRetryAfter(d time.Duration) FailOption {
	return func(o *failOptions) { o.after, o.given = min(max(d, 0), MaxItemDelay), true }
}

// WithoutRetry makes the item dead, whatever attempts it has left.
func WithoutRetry() FailOption { return func(o *failOptions) { o.dead = true } }

// Complete says that the work is done; result is kept for QueueConfig.Retention, see
// WorkQueue.Get. It returns nil once a majority of voters knows, and the claim still
// held: nobody will ever claim the item again, and no other Complete of it returns nil.
// Else it fails with ErrClaimLost: the item may be tried again, or, if the answers of
// the voters were all that was missing, be done with this result.
func (c *Claim) Complete(ctx context.Context, result any) error {
	v, err := crdt.ValueOf(result)
	if err == nil && len(v.Raw()) > wire.MaxValueBytes-maxClaimOverhead {
		err = &wire.ValueError{Reason: fmt.Sprintf("a result of %d bytes; at most %d are allowed", len(v.Raw()), wire.MaxValueBytes-maxClaimOverhead)}
	}
	if err != nil {
		return c.fault(err)
	}
	return c.finish(ctx, done, claimRecord{Attempt: c.Attempt, Result: v}, c.q.a.cfg.Queues.Retention)
}

// maxClaimOverhead is what a claim's record has beside its result.
const maxClaimOverhead = 4 << 10

// Fail says that the work did not succeed. The item is tried again after a back-off with
// jitter; after its last attempt it is dead. It returns as Complete does.
func (c *Claim) Fail(ctx context.Context, cause error, opts ...FailOption) error {
	var o failOptions
	for _, f := range opts {
		f(&o)
	}
	rec := claimRecord{Attempt: c.Attempt, Error: "failed"}
	if cause != nil {
		rec.Error = cause.Error()
		rec.Error = rec.Error[:min(len(rec.Error), 1024)]
	}
	if o.dead || c.Attempt >= c.q.attempts(c.e) {
		return c.finish(ctx, dead, rec, 0)
	}
	if !o.given {
		o.after = backOff(c.Attempt)
	}
	rec.NotBefore = time.Now().Add(o.after).UnixMilli()
	return c.finish(ctx, failed, rec, claimsKept)
}

// backOff returns how long to wait after an attempt: between half and all of a time
// that doubles, so that what failed together is not tried together.
func backOff(attempt int) time.Duration {
	most := min(retryBase<<min(max(attempt-1, 0), 16), retryMost)
	return most/2 + time.Duration(rand.Int64N(int64(most/2)))
}

// Release gives the item back as if it had not been claimed.
func (c *Claim) Release(ctx context.Context) error {
	return c.finish(ctx, failed, claimRecord{Attempt: c.Attempt - 1}, claimsKept)
}

// verdictWrite is what a claim is to say last.
type verdictWrite struct {
	c       *Claim
	verdict verdict
	rec     claimRecord
	op      crdt.Op
	err     error
	decided chan error // of capacity 1
}

func (c *Claim) finish(ctx context.Context, v verdict, rec claimRecord, keep time.Duration) error {
	c.mu.Lock()
	err := c.lease.Err()
	switch {
	case c.phase == working && err == nil && c.Remaining() > 0:
		c.phase = finishing
	case err == nil:
		err = errors.New("it was finished already")
	}
	c.mu.Unlock()
	if err != nil {
		return c.fault(fmt.Errorf("%w: %w", ErrClaimLost, err))
	}
	w := &verdictWrite{c: c, verdict: v, rec: rec, op: c.op(v, rec, keep), decided: make(chan error, 1)}
	if !c.q.a.queues.submit(c.q.a, w) {
		return ErrClosed
	}
	select {
	case err := <-w.decided:
		return err
	case <-ctx.Done():
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
//
// A verdict is valid if a majority of voters has it while its claim is still held. Its
// successor holds a lease only after this one has ended, and confirms it with a
// majority after that; one voter is in both majorities, and bars a lock whose item it
// knows as done.
func (a *Agent) decide(batch []*verdictWrite) {
	a.record(batch)
	err := a.waitVoters(func() bool {
		return slices.ContainsFunc(batch, func(w *verdictWrite) bool { return w.err == nil && w.c.Remaining() > 0 })
	})
	var leases []*lockservice.Lease
	var gone []crdt.Op
	for _, w := range batch {
		c := w.c
		if w.err == nil {
			if w.err = err; err == nil && (c.lease.Err() != nil || c.Remaining() <= 0) {
				w.err = errLate
			}
		}
		if w.err == nil && w.verdict == done {
			gone = append(gone, crdt.Op{Verb: crdt.Delete, Key: itemKey(c.q.name, c.ID)})
		}
		c.conclude(w)
		leases = append(leases, c.lease)
	}
	lockservice.UnlockEach(leases)
	if len(gone) > 0 {
		if err := a.write(context.Background(), manner{}, gone...); err != nil && !a.isClosed() {
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
		ops[i] = w.op
	}
	if err := a.write(context.Background(), manner{urgent: true}, ops...); err != nil {
		for _, w := range batch {
			w.err = a.write(context.Background(), manner{urgent: true}, w.op)
		}
	}
	for _, w := range batch {
		if r := &w.rec; w.err == nil {
			w.c.x.judge(w.c.ID, w.c.Token(), w.verdict, claimHead{State: verdictNames[w.verdict], Attempt: r.Attempt,
				Worker: a.cfg.Name, NotBefore: r.NotBefore, Error: r.Error})
		}
	}
}

// waitVoters waits until a majority of voters has acknowledged what was written here, or
// nothing depends on it any more.
func (a *Agent) waitVoters(matters func() bool) error {
	voters := a.locks.voters
	a.mu.Lock()
	last, actor := a.store.Last(), a.replica.Actor()
	a.mu.Unlock()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		a.mu.Lock()
		by := append(a.replica.Engine().AckedBy(last), a.cfg.Name)
		slices.Sort(by)
		by = slices.DeleteFunc(slices.Compact(by), func(name string) bool { return !slices.Contains(voters, name) })
		acked, rotated := a.acked, a.replica.Actor() != actor
		enough := len(voters) == 0 || len(by) > len(voters)/2
		if !enough {
			a.replica.Engine().RequestAcks(time.Now())
		}
		a.mu.Unlock()
		switch {
		case rotated:
			return ErrRotated
		case enough:
			return nil
		case !matters():
			return errLate
		}
		a.signal()
		select {
		case <-acked:
		case <-look.C:
		case <-a.closing:
			return ErrClosed
		}
	}
}

// conclude ends a claim after its verdict.
func (c *Claim) conclude(w *verdictWrite) {
	c.mu.Lock()
	c.phase = over
	c.mu.Unlock()
	c.stop()
	c.leave(time.Time{})
	c.x.mu.Lock()
	event := ItemFailedEvent
	switch n := &c.x.counters; {
	case w.err != nil:
		n.Lost++
		event = ClaimLostEvent
	case w.verdict == done:
		n.Completed++
		event = ItemCompletedEvent
	case w.verdict == dead:
		n.Failed++
		n.Dead++
		event = ItemDeadEvent
	default:
		n.Failed++
	}
	c.x.mu.Unlock()
	c.q.a.emit(LifecycleEvent{Type: event, Name: c.q.name + "/" + c.ID})
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
	q.all.Range(func(_, v any) bool {
		x := v.(*index)
		x.mu.Lock()
		keys := x.stale[:min(len(x.stale), crdt.MaxOps)]
		x.stale = slices.Clone(x.stale[len(keys):])
		x.mu.Unlock()
		ops := make([]crdt.Op, len(keys))
		for i, key := range keys {
			ops[i] = crdt.Op{Verb: crdt.Delete, Key: key}
		}
		if len(ops) > 0 {
			_ = a.write(context.Background(), manner{}, ops...) // else they expire
		}
		return true
	})
}

// retreat returns what is to be written of the claims that end with the agent.
func (q *queues) retreat() (ops []crdt.Op) {
	var leases []*lockservice.Lease
	q.all.Range(func(_, v any) bool {
		x := v.(*index)
		x.mu.Lock()
		var claims []*Claim
		for _, c := range x.claims {
			claims = append(claims, c)
		}
		x.mu.Unlock()
		for _, c := range claims {
			c.mu.Lock()
			if c.phase == working {
				c.phase = over
				leases = append(leases, c.lease)
				ops = append(ops, c.op(failed, claimRecord{Attempt: c.Attempt, Error: "its worker stopped"}, claimsKept))
			}
			c.mu.Unlock()
		}
		return true
	})
	lockservice.UnlockEach(leases)
	return ops
}
