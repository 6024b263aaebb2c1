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

// Claim is the right of a worker at this peer to work on an item, until the lease of the claim ends.
// The worker must stop when Context is cancelled, should add Token to every write for the item to a
// third system, and ends the claim by one call of Complete, Fail or Release. All methods are safe for
// concurrent use; the fields must not be changed.
type Claim struct {
	ID       string
	Value    crdt.Value
	Priority int
	Attempt  int       // number of this attempt at the item, from 1
	Enqueued time.Time // time of the item's Enqueue

	q      Queue
	x      *index
	core   *queue.Claim // guarded by x.mu
	lease  *lockservice.Lease
	bearer bool        // whoever has the lease's name extends the claim, here or at another peer
	stop   func() bool // cancels the call of lost at the end of the lease
}

// ClaimOption changes a call of Claim or ClaimBatch.
type ClaimOption func(*claimOptions)

type claimOptions struct {
	ttl    time.Duration
	bearer bool
	wait   *time.Duration // nil to wait as long as ctx
}

// ErrEmpty is returned when nothing could be claimed within the time of WithWait.
var ErrEmpty = errors.New("nothing to claim")

// WithTTL sets the TTL of the claim's lease: 500 ms to LockConfig.MaxTTL, which is 15 s by default; 0
// for the default of 10 s. When the peer of a worker dies, its items can be claimed again after the
// rest of that time.
func WithTTL(ttl time.Duration) ClaimOption {
	return func(o *claimOptions) { o.ttl = cmp.Or(ttl, o.ttl) }
}

// WithWait makes the call fail with ErrEmpty if nothing can be claimed within d. With 0 the call does
// not wait at all.
func WithWait(d time.Duration) ClaimOption { return func(o *claimOptions) { o.wait = &d } }

// WithBearer gives the claim to its bearer: whoever has its Lease and Token may extend and finish it
// at every peer, see Queue.Claimed. Only Extend extends such a claim, and Agent.Close does not end
// it. Any other claim is extended by itself until it ends or its peer dies, even if its worker hangs.
func WithBearer() ClaimOption { return func(o *claimOptions) { o.bearer = true } }

const (
	defaultClaimTTL = 10 * time.Second
	confirmWithin   = time.Second // bounds the round that confirms new leases
)

// Claim waits, within ctx, for an item and claims it. It fails with the error of ctx, with ErrEmpty,
// with lockservice.ErrUnavailable while no majority of voters is up, and with agent.ErrClosed.
func (q Queue) Claim(ctx context.Context, opts ...ClaimOption) (*Claim, error) {
	list, err := q.ClaimBatch(ctx, 1, opts...)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ClaimBatch waits, within ctx, until at least one item can be claimed, and claims up to n of the items
// that can be claimed then; n is 1 to MaxBatch. Each item has a claim of its own. Errors are those of
// Claim.
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
	var timeout <-chan time.Time
	if o.wait != nil {
		if *o.wait < 0 {
			return nil, fmt.Errorf("queue %q: a wait of %v: want 0 or more", q.name, *o.wait)
		}
		timer := time.NewTimer(*o.wait)
		defer timer.Stop()
		timeout = timer.C
	}
	var tries []*queue.Claim
	for {
		if err := q.s.quorum(queue.Lock(q.name, "")); err != nil {
			return nil, fmt.Errorf("queue %q: %w", q.name, err)
		}
		x := q.s.lookup(q.name) // a call of Claim does not make a queue exist
		if x != nil {
			x.do(func(core *queue.Index, now time.Time) { tries = core.Take(now, n, tries[:0]) })
		}
		if len(tries) == 0 {
			if o.wait != nil && *o.wait == 0 {
				return nil, fmt.Errorf("queue %q: %w", q.name, ErrEmpty)
			}
			if err := q.wait(ctx, x, timeout); err != nil {
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

// wait returns when there may be something to claim. x is the queue's index; nil if the queue is not
// known here, and then wait returns when it may have become known.
func (q Queue) wait(ctx context.Context, x *index, timeout <-chan time.Time) error {
	var woken <-chan struct{}
	leave := func() {}
	if x != nil {
		woken, leave = x.wait()
	} else {
		woken = q.s.another(q.name)
	}
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		leave()
		return ctx.Err()
	case <-timeout:
		leave()
		return ErrEmpty
	case <-q.s.host.Memory.Closing():
		return memory.ErrClosed
	}
}

// quorum fails with lockservice.ErrUnavailable if fewer than a majority of the voters are up.
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

// try asks for the lease of each item in tries, confirms the leases that it got, and makes claims of
// them. It gives back the items that it could not claim. If it returns no claim, the error is one that
// would keep other items from being claimed too; nil if there is none.
func (q Queue) try(ctx context.Context, x *index, tries []*queue.Claim, o claimOptions) ([]*Claim, error) {
	names := make([]string, len(tries))
	for i, c := range tries {
		names[i] = queue.Lock(q.name, c.ID)
	}
	options := []lockservice.Option{lockservice.WithTTL(o.ttl)}
	if o.bearer {
		options = append(options, lockservice.WithBearer())
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
			list = append(list, &Claim{ID: tries[i].ID, q: q, x: x, core: tries[i], lease: got.Lease, bearer: o.bearer})
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

// announce makes claims of leases that a majority has confirmed; errs has the errors of those that it has
// not. It checks each item once more, since its last holder may have finished it meanwhile, and writes the
// records of the claims.
func (q Queue) announce(x *index, list []*Claim, errs []error, o claimOptions) ([]*Claim, error) {
	var failure error
	var kept, rest, dead []*Claim
	var ops []crdt.Op
	exists := make([]bool, len(list))
	for i, c := range list {
		var v crdt.Value
		v, exists[i] = q.s.host.Memory.Peek(queue.ItemKey(q.name, c.ID))
		c.Value = v.Field("value")
	}
	x.do(func(core *queue.Index, now time.Time) {
		for i, c := range list {
			if errs[i] != nil {
				failure = errs[i]
				rest = append(rest, c)
				continue
			}
			writes, work := core.Confirmed(now, c.core, o.ttl, exists[i])
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
			c.stop = context.AfterFunc(c.lease.Context(), c.lost) // set before another goroutine can find the claim and finish it
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

// Token returns the fencing token of the claim. It is greater than the token of every earlier claim of
// the item.
func (c *Claim) Token() uint64 { return c.lease.Token() }

// Context returns a context that is cancelled when the claim ends, a little before its deadline.
func (c *Claim) Context() context.Context { return c.lease.Context() }

// Remaining returns how long the claim lasts if it is not extended.
func (c *Claim) Remaining() time.Duration { return c.lease.Remaining() }

// Lease returns the name of the lease of a claim made WithBearer, "" for other claims. Every peer
// accepts it from workers in other processes: see Queue.Claimed. It cannot be guessed.
func (c *Claim) Lease() string { return c.lease.ID() }

// Extend makes the claim last for its whole TTL from now, and returns the time that remains. It fails
// with ErrClaimLost, with lockservice.ErrUnavailable, and with the error of ctx.
func (c *Claim) Extend(ctx context.Context) (time.Duration, error) {
	if err := c.lease.Renew(ctx); err != nil {
		return 0, c.fault(err)
	}
	return c.Remaining(), nil
}

// fault adds the queue and the item to an error, and ErrClaimLost if the lease is lost.
func (c *Claim) fault(err error) error {
	if errors.Is(err, lockservice.ErrLost) || errors.Is(err, lockservice.ErrNotHolder) {
		err = fmt.Errorf("%w: %w", ErrClaimLost, err)
	}
	return fmt.Errorf("queue %q: item %q: %w", c.q.name, c.ID, err)
}

// lost is called when the lease ends before the claim is finished.
func (c *Claim) lost() {
	if c.q.s.host.Memory.Closed() {
		return // Close waits for the claim's worker, unless the claim belongs to its bearer
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

// forget takes the claim off the claims of its index. It must be called with the index's lock held.
func (c *Claim) forget() {
	if c.x.claims[c.ID] == c {
		delete(c.x.claims, c.ID)
	}
}
