package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Leases are the leases that a daemon holds for its clients. Each has an id that nobody
// can guess: who has it renews and releases, at every daemon of the cluster. A client that
// vanishes renews no more, and its leases end by themselves.
type Leases struct {
	mu   sync.Mutex
	held map[string]*clientLease // by id

	places *Shares // of leases that are held, and of calls that may come to hold one
}

type clientLease struct {
	*lockservice.Lease
	lock   string
	shared bool
	place  string // whose it is
}

const (
	maxLeases = 100_000
	maxWait   = 24 * time.Hour
)

// NewLeases returns a table for one daemon. One client may have half of it.
func NewLeases() *Leases {
	return &Leases{held: make(map[string]*clientLease),
		places: NewShares("leases of clients, held or waited for,", maxLeases, maxLeases/2)}
}

// keep notes a lease until it ends, and gives its place back then.
func (t *Leases) keep(l *clientLease) {
	id := l.ID()
	t.mu.Lock()
	t.held[id] = l
	t.mu.Unlock()
	context.AfterFunc(l.Context(), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.held[id] == l {
			delete(t.held, id)
		}
		t.places.Give(l.place)
	})
}

// find returns the lease with this id, if it is one on lock. One of another daemon, or of
// an earlier life of this one, goes on here, as that of by.
func (t *Leases) find(ctx context.Context, s *lockservice.Session, lock, id string, by lockservice.Option) (*clientLease, error) {
	t.mu.Lock()
	l := t.held[id]
	t.mu.Unlock()
	if l != nil && l.lock == lock && l.Err() == nil {
		return l, nil
	}
	place := CallerOf(ctx)
	if err := t.places.Take(place); err != nil {
		return nil, err
	}
	lease, err := s.Resume(ctx, lock, id, by)
	if err != nil {
		t.places.Give(place)
		return nil, err
	}
	l = &clientLease{lease, lock, lease.Mode() == lockservice.Shared, place}
	t.keep(l)
	return l, nil
}

// Count returns how many are held; of no table, none.
func (t *Leases) Count() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}

// Lease is a lease as its client sees it.
type Lease struct {
	Held
	Lease string `json:"lease"` // the id
}

// Held is a lease as all may see it, who may not renew it.
type Held struct {
	Lock      string   `json:"lock"`
	Token     uint64   `json:"token"`
	Shared    bool     `json:"shared,omitempty"`
	Remaining Duration `json:"remaining"`
	Guarantee string   `json:"guarantee"`
}

func (l *clientLease) shown() Held {
	return Held{Lock: l.lock, Token: l.Token(), Shared: l.shared,
		Remaining: Duration(l.Remaining()), Guarantee: l.Guarantee().String()}
}

func acquireLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body acquireBody
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return Response{}, err
		}
	}
	wait, err := duration("wait", body.Wait, 0, maxWait)
	if err != nil {
		return Response{}, err
	}
	by, err := r.by(body.Client)
	if err != nil {
		return Response{}, err
	}
	opts := []lockservice.Option{lockservice.WithManualRenewal(), by}
	if body.TTL != "" {
		ttl, err := time.ParseDuration(body.TTL)
		if err != nil {
			return Response{}, bad("ttl %q: want a duration such as 10s, of %v to the --max-ttl of the voters", body.TTL, lockservice.LeastTTL)
		}
		opts = append(opts, lockservice.WithTTL(ttl))
	}
	if body.Shared {
		opts = append(opts, lockservice.WithShared())
	}
	place := CallerOf(ctx)
	if ctx, err = r.Longer(wait); err == nil {
		err = r.Leases.places.Take(place)
	}
	if err != nil {
		return Response{}, err
	}
	lease, err := lockWithin(ctx, a.Locks(), r.Key, wait, opts)
	if err != nil {
		r.Leases.places.Give(place)
		return Response{}, err
	}
	l := &clientLease{lease, r.Key, body.Shared, place}
	r.Leases.keep(l)
	if ctx.Err() != nil { // nobody is there to take it
		return Response{}, errors.Join(context.Cause(ctx), lease.Unlock(context.WithoutCancel(ctx)))
	}
	return Response{Body: Lease{l.shown(), l.ID()}}, nil
}

// lockWithin takes a lock, and waits for others if wait is not 0.
func lockWithin(ctx context.Context, s *lockservice.Session, name string, wait time.Duration, opts []lockservice.Option) (*lockservice.Lease, error) {
	if wait == 0 {
		return s.TryLock(ctx, name, opts...)
	}
	within, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("waited %v", wait))
	defer cancel()
	return s.Lock(within, name, opts...)
}

// lease returns the id of the lease that a request names, in its query or its body.
func (r Request) lease() (string, error) {
	body := leaseBody{r.Query.Get("lease")}
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return "", err
		}
	}
	if body.Lease == "" {
		return "", bad(`body: want {"lease":"…"} with the lease that was answered when the lock was acquired`)
	}
	return body.Lease, nil
}

// find returns the lease with this id.
func (r Request) find(ctx context.Context, a *agent.Agent, id string) (*clientLease, error) {
	by, err := r.by("")
	if err != nil {
		return nil, err
	}
	return r.Leases.find(ctx, a.Locks(), r.Key, id, by)
}

// renewing bounds a renewal to a quarter of the TTL, so that its client, who has a third,
// hears what is in its way.
func renewing(ctx context.Context, id string) (context.Context, context.CancelFunc) {
	b, ok := lockservice.ParseBearer("", id)
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, b.TTL/4)
}

func renewLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	id, err := r.lease()
	if err != nil {
		return Response{}, err
	}
	ctx, cancel := renewing(ctx, id)
	defer cancel()
	l, err := r.find(ctx, a, id)
	if err == nil {
		err = l.Renew(ctx)
	}
	if err != nil {
		return Response{}, err
	}
	return Response{Body: Lease{l.shown(), l.ID()}}, nil
}

func releaseLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	id, err := r.lease()
	if err != nil {
		return Response{}, err
	}
	l, err := r.find(ctx, a, id)
	if err == nil {
		err = l.Unlock(ctx)
	}
	return Response{Empty: true}, err
}

func askVoters(ctx context.Context, s *lockservice.Session, name string) (lockservice.Info, error) {
	if err := s.Majority(ctx); err != nil {
		if short, ok := errors.AsType[*lockservice.UnavailableError](err); ok {
			of := *short // a question of its own
			of.Lock, err = name, &of
		}
		return lockservice.Info{}, err
	}
	within, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	return s.Inspect(within, name)
}
