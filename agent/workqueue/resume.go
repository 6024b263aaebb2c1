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

// Claimed returns the claim of an item by its lease and token, for a worker in another
// process: one made through this peer, or through another, or before this one's start,
// which is extended then and goes on here. It fails with ErrClaimLost if there is no such
// claim any more, and within ctx with lockservice.ErrUnavailable if no majority of voters
// says so, or this peer does not hear of the claim.
func (q Queue) Claimed(ctx context.Context, id, lease string, token uint64) (*Claim, error) {
	x, err := q.look()
	if err != nil {
		return nil, err
	}
	if x != nil {
		if c := x.claim(id, lease); c != nil && c.Token() == token {
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

// claim returns a claim that lasts, nil if there is none by that lease.
func (x *index) claim(id, lease string) *Claim {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.claims[id]; c != nil && c.bearer && c.lease.Err() == nil && c.Lease() == lease {
		return c
	}
	return nil
}

// hearAgain is how often adopt looks whether the claim was heard of.
const hearAgain = 20 * time.Millisecond

// adopt makes a claim of a lease that was resumed here, once this peer has heard of it.
func (q Queue) adopt(ctx context.Context, x *index, id string, l *lockservice.Lease) (*Claim, error) {
	look := time.NewTicker(hearAgain)
	defer look.Stop()
	for {
		if c := x.claim(id, l.ID()); c != nil { // another call was first
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
		case <-look.C:
		case <-l.Done():
			return nil, fmt.Errorf("%w: %w", ErrClaimLost, l.Err())
		case <-q.s.host.Memory.Closing():
			return nil, memory.ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: this peer has not heard of the claim yet: %w", lockservice.ErrUnavailable, ctx.Err())
		}
	}
}
