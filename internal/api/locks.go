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

// Leases are the leases that a daemon holds for its clients. Each has an id that nobody can guess;
// a client that has the id renews and releases the lease, at every daemon of the cluster. The
// leases of a client that vanishes are not renewed, and so end by themselves.
type Leases struct {
	mu   sync.Mutex
	held map[string]*clientLease // by id

	places *Shares // bounds the leases that are held, and the calls that may get one
}

type clientLease struct {
	*lockservice.Lease
	lock   string
	shared bool
	place  string // the caller that has the place in Leases.places
}

const (
	maxLeases = 100_000
	maxWait   = 24 * time.Hour
)

// NewLeases returns a table for one daemon. One client may have half of its places.
func NewLeases() *Leases {
	return &Leases{held: make(map[string]*clientLease),
		places: NewShares("leases of clients, held or waited for,", maxLeases, maxLeases/2)}
}

// keep holds a lease until it ends, and gives its place back then.
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

// find returns the lease with an id, if it is one on the lock. A lease of another daemon, or of an
// earlier process of this one, is resumed here, for the client that by describes.
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

// Count returns the number of leases; 0 for a nil table.
func (t *Leases) Count() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}

// Lease is a lease as its client sees it: with the id, which allows to renew and release it.
type Lease struct {
	Held
	Lease string `json:"lease"` // the id
}

// Held is a lease as every caller may see it: without the id.
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
	opts := []lockservice.Option{lockservice.WithBearer(), by}
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
	if ctx.Err() != nil { // the client is gone, so the lock is released
		return Response{}, errors.Join(context.Cause(ctx), lease.Unlock(context.WithoutCancel(ctx)))
	}
	return Response{Body: Lease{l.shown(), l.ID()}}, nil
}

// lockWithin takes a lock, and waits for other holders unless wait is 0.
func lockWithin(ctx context.Context, s *lockservice.Session, name string, wait time.Duration, opts []lockservice.Option) (*lockservice.Lease, error) {
	if wait == 0 {
		return s.TryLock(ctx, name, opts...)
	}
	within, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("waited %v", wait))
	defer cancel()
	return s.Lock(within, name, opts...)
}

// lease returns the id of the lease that a request names in its query or its body.
func (r Request) lease() (string, error) {
	body := leaseBody{r.Query.Get("lease")}
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return "", err
		}
	}
	if body.Lease == "" {
		return "", bad(`body: want {"lease":"…"} with the lease in the answer of the request that acquired the lock`)
	}
	return body.Lease, nil
}

// find returns the lease with an id.
func (r Request) find(ctx context.Context, a *agent.Agent, id string) (*clientLease, error) {
	by, err := r.by("")
	if err != nil {
		return nil, err
	}
	return r.Leases.find(ctx, a.Locks(), r.Key, id, by)
}

// renewing limits a renewal to a quarter of the TTL. The client, which renews every third of the
// TTL, so still learns what prevents a renewal.
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
			of := *short // a copy that names this lock
			of.Lock, err = name, &of
		}
		return lockservice.Info{}, err
	}
	within, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	return s.Inspect(within, name)
}
