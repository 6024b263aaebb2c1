package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Claim is an item that this peer's worker has, until its lease ends: work on it while
// Context lasts, and give Token to whatever is written for it. Complete or Fail it once.
type Claim struct {
	ID       string
	Value    crdt.Value
	Priority int
	Attempt  int // 1 the first time
	Enqueued time.Time

	q     WorkQueue
	x     *index
	e     *entry
	lease *lockservice.Lease
	stop  func() bool // stops waiting for the lease to be lost

	mu    sync.Mutex // guards what follows
	phase claimPhase
}

type claimPhase uint8

const (
	working claimPhase = iota
	finishing
	over
)

// ClaimOption changes a Claim that is asked for.
type ClaimOption func(*claimOptions)

type claimOptions struct {
	ttl    time.Duration
	manual bool
	wait   time.Duration // negative: as long as ctx
}

// ErrQueueEmpty says that nothing could be claimed within WithWait.
var ErrQueueEmpty = errors.New("nothing to claim")

// WithClaimTTL sets how long a claim lasts when its peer dies: 500 ms to 15 s, 10 s by
// default. A short one has the item tried again sooner.
func WithClaimTTL(ttl time.Duration) ClaimOption {
	return func(o *claimOptions) { o.ttl = cmp.Or(ttl, o.ttl) }
}

// WithWait has a claim fail with ErrQueueEmpty when nothing comes within d; 0 does not
// wait at all.
func WithWait(d time.Duration) ClaimOption { return func(o *claimOptions) { o.wait = d } }

// WithManualExtend leaves extending the claim to Extend; else it is extended by itself
// until it is finished or its peer dies, for work that hangs too.
func WithManualExtend() ClaimOption { return func(o *claimOptions) { o.manual = true } }

const (
	defaultClaimTTL = 10 * time.Second
	raceRetry       = 50 * time.Millisecond // for an item that another peer is about to claim
	barredRetry     = 500 * time.Millisecond
	confirmWithin   = time.Second
)

// Claim waits, within ctx, for an item and claims it. It fails with ctx's error, with
// lockservice.ErrUnavailable when there is no majority of voters, and with ErrClosed.
func (q WorkQueue) Claim(ctx context.Context, opts ...ClaimOption) (*Claim, error) {
	list, err := q.ClaimBatch(ctx, 1, opts...)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ClaimBatch waits, within ctx, until there is something to claim, and claims up to n
// items of what there is; n is 256 at most. Each is a claim of its own.
func (q WorkQueue) ClaimBatch(ctx context.Context, n int, opts ...ClaimOption) ([]*Claim, error) {
	x, err := q.open()
	if err != nil {
		return nil, err
	}
	if n < 1 || n > MaxClaimBatch {
		return nil, fmt.Errorf("queue %q: claim of %d items: want 1 to %d", q.name, n, MaxClaimBatch)
	}
	o := claimOptions{ttl: defaultClaimTTL, wait: -1}
	for _, f := range opts {
		f(&o)
	}
	o.ttl = min(o.ttl, q.a.locks.longest)
	var patience <-chan time.Time
	if o.wait > 0 {
		timer := time.NewTimer(o.wait)
		defer timer.Stop()
		patience = timer.C
	}
	var tries []*entry
	for {
		if err := q.a.locks.quorum(itemLock(q.name, "")); err != nil {
			return nil, fmt.Errorf("queue %q: %w", q.name, err)
		}
		if tries = x.take(n, tries[:0]); len(tries) == 0 {
			if o.wait == 0 {
				return nil, fmt.Errorf("queue %q: %w", q.name, ErrQueueEmpty)
			}
			if err := q.wait(ctx, x, patience); err != nil {
				return nil, fmt.Errorf("queue %q: %w", q.name, err)
			}
			continue
		}
		claims, err := q.try(ctx, x, tries, o)
		if len(claims) > 0 {
			return claims, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("queue %q: %w", q.name, err)
		}
	}
}

// wait returns when there may be something to claim.
func (q WorkQueue) wait(ctx context.Context, x *index, patience <-chan time.Time) error {
	turn := x.wait()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		x.leave(turn)
		return ctx.Err()
	case <-patience:
		x.leave(turn)
		return ErrQueueEmpty
	case <-q.a.closing:
		return ErrClosed
	}
}

// quorum refuses when too few voters are up for any lease.
func (l *locks) quorum(lock string) error {
	if len(l.voters) == 0 {
		return nil
	}
	up := 0
	for _, name := range l.voters {
		if l.alive(name) {
			up++
		}
	}
	if need := len(l.voters)/2 + 1; up < need {
		return &lockservice.UnavailableError{Lock: lock, Reachable: up, Needed: need}
	}
	return nil
}

// try takes the leases of items, sees that none is done, and says for all to read that
// they are claimed. What is not claimed is given back. An error is what kept all of them
// from being claimed, and will keep others.
func (q WorkQueue) try(ctx context.Context, x *index, tries []*entry, o claimOptions) ([]*Claim, error) {
	names := make([]string, len(tries))
	for i, e := range tries {
		names[i] = itemLock(q.name, e.id)
	}
	options := []lockservice.Option{lockservice.WithTTL(o.ttl)}
	if o.manual {
		options = append(options, lockservice.WithManualRenewal())
	}
	var failure error
	var list []*Claim
	var leases []*lockservice.Lease
	for i, got := range q.a.locks.session.TryEach(ctx, names, options...) {
		if got.Err != nil {
			if until, temporary := x.refused(tries[i], got.Err); temporary {
				x.giveBack(tries[i], until)
			} else {
				x.giveBack(tries[i], time.Time{})
				failure = got.Err
			}
			continue
		}
		list = append(list, &Claim{ID: tries[i].id, q: q, x: x, e: tries[i], lease: got.Lease})
		leases = append(leases, got.Lease)
	}
	if len(list) == 0 {
		return nil, failure
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmWithin)
	errs := q.a.locks.session.ConfirmEach(bounded, leases)
	cancel()
	return q.announce(x, list, errs, o)
}

// refused returns when to try an item again whose lease was refused, and whether others
// may be claimed all the same.
func (x *index) refused(e *entry, err error) (until time.Time, temporary bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	held, ok := errors.AsType[*lockservice.HeldError](err)
	switch {
	case ok && e.verdict == claimed:
		x.counters.Contended++
		return now.Add(max(held.Left, raceRetry)), true
	case ok: // by one who has not said so yet, or not any more
		x.counters.Contended++
		return now.Add(raceRetry), true
	case errors.Is(err, lockservice.ErrBarred): // what became of it has not come here yet
		return now.Add(barredRetry), true
	}
	return now, false
}

// announce makes claims of leases that were confirmed: it looks at each item once more,
// for its last holder may have finished it meanwhile, and writes that it is claimed.
func (q WorkQueue) announce(x *index, list []*Claim, errs []error, o claimOptions) ([]*Claim, error) {
	var failure error
	var kept, rest []*Claim
	var ops []crdt.Op
	now := time.Now()
	for i, c := range list {
		switch again, ok := x.begin(c, now); {
		case errs[i] != nil:
			failure = errs[i]
			rest = append(rest, c)
		case !ok:
			rest = append(rest, c)
		case c.Attempt > q.attempts(c.e):
			rest = append(rest, c)
			ops = append(ops, c.op(dead, claimRecord{Attempt: c.Attempt - 1, Error: "given up: its workers were lost"}, 0))
			x.judge(c.ID, c.Token(), dead, claimHead{Attempt: c.Attempt - 1, Worker: q.a.cfg.Name})
		default:
			ops = append(ops, c.op(claimed, claimRecord{Attempt: c.Attempt, TTL: o.ttl.Milliseconds()}, claimsKept))
			if again != 0 {
				ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: claimKey(q.name, c.ID, again)})
			}
			x.judge(c.ID, c.Token(), claimed, claimHead{Attempt: c.Attempt, Worker: q.a.cfg.Name, TTL: o.ttl.Milliseconds()})
			kept = append(kept, c)
		}
	}
	if len(ops) > 0 {
		if err := q.a.write(context.Background(), manner{urgent: true}, ops...); err != nil {
			rest, kept, failure = list, nil, err
		}
	}
	leases := make([]*lockservice.Lease, 0, len(rest))
	for _, c := range rest {
		leases = append(leases, c.lease)
		x.giveBack(c.e, now.Add(raceRetry))
	}
	lockservice.UnlockEach(leases)
	x.mu.Lock()
	x.counters.Claimed += uint64(len(kept))
	for _, c := range kept {
		x.claims[c.ID] = c
	}
	x.mu.Unlock()
	for _, c := range kept {
		c.stop = context.AfterFunc(c.lease.Context(), c.lost)
		q.a.emit(LifecycleEvent{Type: ItemClaimedEvent, Name: q.name + "/" + c.ID})
	}
	return kept, failure
}

// begin fills in a claim from what is known now, and returns the token of the claim
// before; false if the item is not to be claimed after all.
func (x *index) begin(c *Claim, now time.Time) (before uint64, ok bool) {
	key := itemKey(c.q.name, c.ID)
	v, there := c.q.a.Get(key)
	x.mu.Lock()
	defer x.mu.Unlock()
	e := c.e
	if !there || !e.present || e.verdict == done || e.verdict == dead || e.token >= c.Token() || time.UnixMilli(e.claim.NotBefore).After(now) {
		return 0, false
	}
	c.Value, c.Priority, c.Attempt, c.Enqueued = v.Field("value"), e.head.Priority, e.claim.Attempt+1, e.stamp.Time()
	return e.token, true
}

func (q WorkQueue) attempts(e *entry) int {
	if e.head.MaxAttempts > 0 {
		return e.head.MaxAttempts
	}
	return q.a.cfg.Queues.MaxAttempts
}

// op makes the write of what the claim says.
func (c *Claim) op(v verdict, rec claimRecord, keep time.Duration) crdt.Op {
	rec.State, rec.Worker = verdictNames[v], c.q.a.cfg.Name
	value, err := crdt.ValueOf(rec)
	if err != nil { // of a result, which was encoded before
		value, _ = crdt.ValueOf(claimRecord{State: rec.State, Worker: rec.Worker, Attempt: rec.Attempt, Error: err.Error()})
	}
	op := crdt.Op{Verb: crdt.Put, Kind: crdt.Register, Key: claimKey(c.q.name, c.ID, c.Token()), Value: value}
	if keep > 0 {
		op.Expiry = uint64(time.Now().Add(keep).UnixMilli())
	}
	return op
}

// Token returns the fencing token of the claim, greater than that of every claim of the
// item before.
func (c *Claim) Token() uint64 { return c.lease.Token() }

// Context is cancelled when the claim ends, a little before its deadline.
func (c *Claim) Context() context.Context { return c.lease.Context() }

// Remaining returns how long the claim lasts without being extended.
func (c *Claim) Remaining() time.Duration { return c.lease.Remaining() }

// Lease names the claim to the peer that has it, for workers in other processes: see
// WorkQueue.Claimed.
func (c *Claim) Lease() string { return c.q.a.id }

// Claimed returns the claim of an item that was made through this peer, by its lease and
// token; else it fails with ErrClaimLost.
func (q WorkQueue) Claimed(id, lease string, token uint64) (*Claim, error) {
	x, err := q.open()
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	c := x.claims[id]
	x.mu.Unlock()
	switch {
	case lease != q.a.id:
		return nil, fmt.Errorf("queue %q: item %q: %w: it was not made through this peer, or before its start", q.name, id, ErrClaimLost)
	case c == nil || c.Token() != token:
		return nil, fmt.Errorf("queue %q: item %q: %w", q.name, id, ErrClaimLost)
	}
	return c, nil
}

// Extend has the claim last for its whole TTL from now, and returns how long that is. It
// fails with ErrClaimLost, or lockservice.ErrUnavailable.
func (c *Claim) Extend(ctx context.Context) (time.Duration, error) {
	if err := c.lease.Renew(ctx); err != nil {
		return 0, c.fault(err)
	}
	return c.Remaining(), nil
}

// fault says of which claim an error is.
func (c *Claim) fault(err error) error {
	if errors.Is(err, lockservice.ErrLost) || errors.Is(err, lockservice.ErrNotHolder) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", ErrClaimLost, err)
	}
	return fmt.Errorf("queue %q: item %q: %w", c.q.name, c.ID, err)
}

// lost is called when the lease ends before the claim is finished: the item is pending
// again, which others need not wait for the TTL to hear.
func (c *Claim) lost() {
	c.mu.Lock()
	first := c.phase == working
	c.phase = max(c.phase, over)
	c.mu.Unlock()
	if !first {
		return
	}
	c.leave(time.Time{})
	c.x.mu.Lock()
	c.x.counters.Lost++
	c.x.mu.Unlock()
	c.q.a.emit(LifecycleEvent{Type: ClaimLostEvent, Name: c.q.name + "/" + c.ID})
	head := claimHead{Attempt: c.Attempt, Worker: c.q.a.cfg.Name, Error: "its claim was lost"}
	op := c.op(failed, claimRecord{Attempt: head.Attempt, Error: head.Error}, claimsKept)
	if c.q.a.write(context.Background(), manner{urgent: true}, op) == nil {
		c.x.judge(c.ID, c.Token(), failed, head)
	}
}

// leave ends the claim at this peer.
func (c *Claim) leave(until time.Time) {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if c.x.claims[c.ID] == c {
		delete(c.x.claims, c.ID)
	}
	c.x.release(c.e, until)
}
