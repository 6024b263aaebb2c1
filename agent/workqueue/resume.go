package workqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Claimed returns the claim of an item that was made WithBearer, by the claim's Lease and Token. It is for
// a worker in another process, whose claim may have been made through this peer, through another peer, or before
// this peer started. A claim that this peer does not have is extended, and is this peer's from then on.
//
// Claimed fails with ErrClaimLost if the claim has ended. It fails with lockservice.ErrUnavailable if, within
// ctx, no majority of voters answers or the record of the claim does not arrive here.
func (q Queue) Claimed(ctx context.Context, id, lease string, token uint64) (*Claim, error) {
	x, err := q.indexToRead()
	if err != nil {
		return nil, err
	}
	if x != nil {
		if c := x.bearerClaim(id, lease); c != nil && c.Token() == token {
			return c, nil
		}
	}
	fault := func(err error) error { return fmt.Errorf("queue %q: item %q: %w", q.name, id, err) }
	lock := queue.Lock(q.name, id)
	if b, ok := lockservice.ParseBearer(lock, lease); !ok || b.Token != token {
		return nil, fault(fmt.Errorf("%w: these are no lease and token of a claim", ErrClaimLost))
	}
	l, err := q.s.host.Locks().Resume(ctx, lock, lease)
	if errors.Is(err, lockservice.ErrNotHolder) || errors.Is(err, lockservice.ErrBarred) || errors.Is(err, lockservice.ErrLost) {
		err = fmt.Errorf("%w: %w", ErrClaimLost, err)
	}
	if err != nil {
		return nil, fault(err)
	}
	c, err := q.adopt(ctx, q.s.index(q.name), id, l)
	if err != nil {
		return nil, fault(err)
	}
	return c, nil
}

// bearerClaim returns the claim of an item that this peer has under this lease, nil if there is none or it has
// ended.
func (x *index) bearerClaim(id, lease string) *Claim {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.claims[id]; c != nil && c.bearer && c.lease.Err() == nil && c.Lease() == lease {
		return c
	}
	return nil
}

// adoptEvery is the interval at which adopt checks whether the record of the claim has arrived.
const adoptEvery = 20 * time.Millisecond

// adopt makes a claim of a lease that was resumed here, as soon as this peer has the record of the claim.
func (q Queue) adopt(ctx context.Context, x *index, id string, l *lockservice.Lease) (*Claim, error) {
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	for {
		if c := x.bearerClaim(id, l.ID()); c != nil { // a concurrent call has adopted it
			return c, nil
		}
		c := &Claim{ID: id, q: q, x: x, lease: l, bearer: true}
		x.do(func(core *queue.Index, now time.Time) {
			if c.core = core.Adopt(now, id, l.Token()); c.core != nil {
				c.Priority, c.Attempt, c.Enqueued = c.core.Priority, c.core.Attempt, c.core.Enqueued
				c.stop = context.AfterFunc(l.Context(), c.lost)
				x.claims[id] = c
			}
		})
		if c.core != nil {
			if v, ok := q.s.host.Memory.Peek(queue.ItemKey(q.name, id)); ok {
				c.Value = v.Field("value")
			}
			return c, nil
		}
		select {
		case <-tick.C:
		case <-l.Done():
			return nil, fmt.Errorf("%w: %w", ErrClaimLost, l.Err())
		case <-q.s.host.Memory.Closing():
			return nil, memory.ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: this peer has not heard of the claim yet: %w", lockservice.ErrUnavailable, ctx.Err())
		}
	}
}
