package workqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
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

	q      Queue
	x      *index
	core   *queue.Claim // guarded by x.mu
	lease  *lockservice.Lease
	bearer bool        // who has the name of the lease extends it, here or at another peer
	stop   func() bool // stops waiting for the lease to be lost
}

// ClaimOption changes a Claim that is asked for.
type ClaimOption func(*claimOptions)

type claimOptions struct {
	ttl    time.Duration
	manual bool
	wait   *time.Duration // nil: as long as ctx
}

// ErrEmpty says that nothing could be claimed within WithWait.
var ErrEmpty = errors.New("nothing to claim")

// WithTTL sets how long a claim lasts when its peer dies: 500 ms to
// LockConfig.MaxTTL, 15 s; 10 s by default, or for 0. A short one has the item tried
// again sooner.
func WithTTL(ttl time.Duration) ClaimOption {
	return func(o *claimOptions) { o.ttl = cmp.Or(ttl, o.ttl) }
}

// WithWait has a claim fail with ErrEmpty when nothing comes within d; 0 does not
// wait at all.
func WithWait(d time.Duration) ClaimOption { return func(o *claimOptions) { o.wait = &d } }

// WithManualExtend leaves extending the claim to Extend; else it is extended by itself
// until it is finished or its peer dies, for work that hangs too. Such a claim belongs to
// whoever has its Lease and Token, who may extend and finish it at every peer: see
// Queue.Claimed. Agent.Close does not end it.
func WithManualExtend() ClaimOption { return func(o *claimOptions) { o.manual = true } }

const (
	defaultClaimTTL = 10 * time.Second
	confirmWithin   = time.Second
)

// Claim waits, within ctx, for an item and claims it. It fails with ctx's error, with
// lockservice.ErrUnavailable when there is no majority of voters, and with memory.ErrClosed.
func (q Queue) Claim(ctx context.Context, opts ...ClaimOption) (*Claim, error) {
	list, err := q.ClaimBatch(ctx, 1, opts...)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ClaimBatch waits, within ctx, until there is something to claim, and claims up to n
// items of what there is; n is 256 at most. Each is a claim of its own.
func (q Queue) ClaimBatch(ctx context.Context, n int, opts ...ClaimOption) ([]*Claim, error) {
	q.s.catchUp(ctx)
	if err := q.check(); err != nil {
		return nil, err
	}
	if n < 1 || n > MaxBatch {
		return nil, fmt.Errorf("queue %q: claim of %d items: want 1 to %d", q.name, n, MaxBatch)
	}
	o := claimOptions{ttl: min(defaultClaimTTL, q.s.host.MaxTTL)}
	for _, f := range opts {
		f(&o)
	}
	if least, most := lockservice.LeastTTL, q.s.host.MaxTTL; o.ttl < least || o.ttl > most {
		return nil, fmt.Errorf("queue %q: %w", q.name, &lockservice.TTLError{TTL: o.ttl, Least: least, Most: most})
	}
	var patience <-chan time.Time
	if o.wait != nil {
		if *o.wait < 0 {
			return nil, fmt.Errorf("queue %q: a wait of %v: want 0 or more", q.name, *o.wait)
		}
		timer := time.NewTimer(*o.wait)
		defer timer.Stop()
		patience = timer.C
	}
	var tries []*queue.Claim
	for {
		if err := q.s.quorum(queue.Lock(q.name, "")); err != nil {
			return nil, fmt.Errorf("queue %q: %w", q.name, err)
		}
		x := q.s.known(q.name) // to claim makes no queue
		if x != nil {
			x.do(func(core *queue.Index, now time.Time) { tries = core.Take(now, n, tries[:0]) })
		}
		if len(tries) == 0 {
			if o.wait != nil && *o.wait == 0 {
				return nil, fmt.Errorf("queue %q: %w", q.name, ErrEmpty)
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

// wait returns when there may be something to claim, or for a queue that is not known, a
// nil x, when it may be.
func (q Queue) wait(ctx context.Context, x *index, patience <-chan time.Time) error {
	var told <-chan struct{}
	leave := func() {}
	if x != nil {
		told, leave = x.wait()
	} else {
		told = q.s.another(q.name)
	}
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		leave()
		return ctx.Err()
	case <-patience:
		leave()
		return ErrEmpty
	case <-q.s.host.Memory.Closing():
		return memory.ErrClosed
	}
}

// quorum refuses when too few voters are up for any lease.
func (s *Queues) quorum(lock string) error {
	voters := s.voters()
	if len(voters) == 0 {
		return nil
	}
	up := 0
	for _, name := range voters {
		if s.host.Alive(name) {
			up++
		}
	}
	if need := len(voters)/2 + 1; up < need {
		return &lockservice.UnavailableError{Lock: lock, Reachable: up, Needed: need}
	}
	return nil
}

// try takes the leases of items, sees that none is done, and says for all to read that
// they are claimed. What is not claimed is given back. An error is what kept all of them
// from being claimed, and will keep others.
func (q Queue) try(ctx context.Context, x *index, tries []*queue.Claim, o claimOptions) ([]*Claim, error) {
	names := make([]string, len(tries))
	for i, c := range tries {
		names[i] = queue.Lock(q.name, c.ID)
	}
	options := []lockservice.Option{lockservice.WithTTL(o.ttl)}
	if o.manual {
		options = append(options, lockservice.WithManualRenewal())
	}
	answers := q.s.host.Locks().TryEach(ctx, names, options...)
	var failure error
	var list []*Claim
	var leases []*lockservice.Lease
	x.do(func(core *queue.Index, now time.Time) {
		for i, got := range answers {
			if got.Err != nil {
				if !core.Refused(now, tries[i], got.Err) {
					failure = got.Err
				}
				continue
			}
			core.Granted(tries[i], got.Lease.Token())
			list = append(list, &Claim{ID: tries[i].ID, q: q, x: x, core: tries[i], lease: got.Lease, bearer: o.manual})
			leases = append(leases, got.Lease)
		}
	})
	if len(list) == 0 {
		return nil, failure
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmWithin)
	errs := q.s.host.Locks().ConfirmEach(bounded, leases)
	cancel()
	return q.announce(x, list, errs, o)
}

// announce makes claims of leases that were confirmed: it looks at each item once more,
// for its last holder may have finished it meanwhile, and writes that it is claimed.
func (q Queue) announce(x *index, list []*Claim, errs []error, o claimOptions) ([]*Claim, error) {
	var failure error
	var kept, rest, dead []*Claim
	var ops []crdt.Op
	there := make([]bool, len(list))
	for i, c := range list {
		var v crdt.Value
		v, there[i] = q.s.host.Memory.Peek(queue.ItemKey(q.name, c.ID))
		c.Value = v.Field("value")
	}
	x.do(func(core *queue.Index, now time.Time) {
		for i, c := range list {
			if errs[i] != nil {
				failure = errs[i]
				rest = append(rest, c)
				continue
			}
			writes, work := core.Confirmed(now, c.core, o.ttl, there[i])
			ops = append(ops, writes...)
			if !work {
				rest = append(rest, c)
				if len(writes) > 0 {
					dead = append(dead, c)
				}
				continue
			}
			c.Priority, c.Attempt, c.Enqueued = c.core.Priority, c.core.Attempt, c.core.Enqueued
			kept = append(kept, c)
		}
	})
	if len(ops) > 0 {
		if err := q.s.host.Memory.Write(context.Background(), memory.Manner{Urgent: true}, ops...); err != nil {
			rest, kept, dead, failure = list, nil, nil, err
		}
	}
	leases := make([]*lockservice.Lease, 0, len(rest))
	x.do(func(core *queue.Index, now time.Time) {
		for _, c := range dead {
			core.Begin(now, c.core)
		}
		for _, c := range rest {
			leases = append(leases, c.lease)
			core.GiveUp(now, c.core)
		}
		for _, c := range kept {
			core.Begin(now, c.core)
			c.stop = context.AfterFunc(c.lease.Context(), c.lost) // before others can find and finish it
			x.claims[c.ID] = c
		}
	})
	lockservice.UnlockEach(leases)
	for _, c := range dead {
		q.s.host.Emit(ItemDead, q.name+"/"+c.ID)
	}
	for _, c := range kept {
		q.s.host.Emit(ItemClaimed, q.name+"/"+c.ID)
	}
	return kept, failure
}

// Token returns the fencing token of the claim, greater than that of every claim of the
// item before.
func (c *Claim) Token() uint64 { return c.lease.Token() }

// Context is cancelled when the claim ends, a little before its deadline.
func (c *Claim) Context() context.Context { return c.lease.Context() }

// Remaining returns how long the claim lasts without being extended.
func (c *Claim) Remaining() time.Duration { return c.lease.Remaining() }

// Lease names a claim WithManualExtend to every peer, for workers in other processes: see
// Queue.Claimed. Nobody can guess it. Of other claims it is "".
func (c *Claim) Lease() string { return c.lease.ID() }

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
	if errors.Is(err, lockservice.ErrLost) || errors.Is(err, lockservice.ErrNotHolder) {
		err = fmt.Errorf("%w: %w", ErrClaimLost, err)
	}
	return fmt.Errorf("queue %q: item %q: %w", c.q.name, c.ID, err)
}

// lost is called when the lease ends before the claim is finished.
func (c *Claim) lost() {
	if c.q.s.host.Memory.Closed() {
		return // its worker is waited for, or it is a bearer's
	}
	var end *queue.Ending
	lost, event := false, ClaimLost
	c.x.do(func(core *queue.Index, now time.Time) {
		if c.bearer {
			lost, event = core.Lapse(now, c.core), ClaimLapsed
		} else {
			end, lost = core.Lost(now, c.core)
		}
		if lost {
			c.forget()
		}
	})
	if !lost {
		return
	}
	c.q.s.host.Emit(event, c.q.name+"/"+c.ID)
	if end != nil && c.q.s.host.Memory.Write(context.Background(), memory.Manner{Urgent: true}, end.Op) == nil {
		c.x.do(func(core *queue.Index, now time.Time) { core.Written(now, end) })
	}
}

// forget takes the claim off those of this peer, with the lock of its index held.
func (c *Claim) forget() {
	if c.x.claims[c.ID] == c {
		delete(c.x.claims, c.ID)
	}
}
