package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

	places  *Shares // of leases that are held, and of calls that may come to hold one
	callers map[*Caller]struct{}
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
	return &Leases{held: make(map[string]*clientLease), callers: make(map[*Caller]struct{}),
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
// an earlier life of this one, goes on here.
func (t *Leases) find(ctx context.Context, s *lockservice.Session, lock, id string) (*clientLease, error) {
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
	lease, err := s.Resume(ctx, lock, id)
	if err != nil {
		t.places.Give(place)
		return nil, err
	}
	l = &clientLease{lease, lock, lease.Mode() == lockservice.Shared, place}
	t.keep(l)
	return l, nil
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
	opts := []lockservice.Option{lockservice.WithManualRenewal()}
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
	caller := r.Leases.caller(r.Key, r.Client)
	lease, err := lockWithin(ctx, a.Locks(), r.Key, wait, opts)
	if err != nil {
		r.Leases.leave(caller)
		r.Leases.places.Give(place)
		return Response{}, err
	}
	r.Leases.holds(caller, lease)
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

// lease returns the lease that a request names, in its query or its body.
func (r Request) lease(ctx context.Context, a *agent.Agent) (*clientLease, error) {
	body := leaseBody{r.Query.Get("lease")}
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return nil, err
		}
	}
	if body.Lease == "" {
		return nil, bad(`body: want {"lease":"…"} with the lease that was answered when the lock was acquired`)
	}
	return r.Leases.find(ctx, a.Locks(), r.Key, body.Lease)
}

func renewLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	l, err := r.lease(ctx, a)
	if err == nil {
		err = l.Renew(ctx)
	}
	if err != nil {
		return Response{}, err
	}
	return Response{Body: Lease{l.shown(), l.ID()}}, nil
}

func releaseLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	l, err := r.lease(ctx, a)
	if err == nil {
		err = l.Unlock(ctx)
	}
	return Response{Empty: true}, err
}

// LockInfo is what is on record for a lock: at a majority of voters, or at this peer alone
// where no majority answers.
type LockInfo struct {
	Lock    string       `json:"lock"`
	Source  string       `json:"source"`        // voters or here
	Why     string       `json:"why,omitempty"` // no majority says it
	Holders []LockHolder `json:"holders"`
	Waiting int          `json:"waiting"`         // in its owner's queue; the waiters of one peer count once
	Owner   string       `json:"owner,omitempty"` // the voter that orders the queue
	Certain bool         `json:"certain"`         // a majority agrees on the holders
}

// LockHolder is who holds a lock, or may.
type LockHolder struct {
	Peer      string    `json:"peer"`
	Token     uint64    `json:"token"`
	Shared    bool      `json:"shared,omitempty"`
	Since     time.Time `json:"since"`     // by the clock of the voter that made the token
	Remaining Duration  `json:"remaining"` // of the record, which outlasts the lease a little
}

// inspectWait is how long the voters may take to say who holds a lock.
const inspectWait = 500 * time.Millisecond

// inspectLock tells what a majority of voters says or, where none answers, what is known
// here: at once if too few voters are up, or did not answer just before.
func inspectLock(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	s, source := a.Locks(), "voters"
	info, err := askVoters(ctx, s, r.Key)
	short, unavailable := errors.AsType[*lockservice.UnavailableError](err)
	if unavailable && ctx.Err() == nil {
		source = "here"
		info, err = s.Recorded(r.Key)
	}
	if err != nil {
		return Response{}, err
	}
	out := LockInfo{Lock: info.Lock, Source: source, Holders: []LockHolder{}, Waiting: info.Waiting, Owner: info.Owner, Certain: info.Certain}
	if unavailable {
		out.Why = short.Error()
	}
	for _, h := range info.Holders {
		out.Holders = append(out.Holders, LockHolder{Peer: h.Inst.Node, Token: h.Token, Shared: h.Mode == lockservice.Shared,
			Since: lockservice.TokenTime(h.Token).UTC(), Remaining: Duration(h.Left.Round(time.Millisecond))})
	}
	return Response{Body: out}, nil
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

func listLocks(ctx context.Context, _ *agent.Agent, r Request) (Response, error) {
	all, grant := []Held{}, GrantOf(ctx)
	r.Leases.mu.Lock()
	for _, l := range r.Leases.held { // sorted below
		if grant.MayLock(l.lock) {
			all = append(all, l.shown())
		}
	}
	r.Leases.mu.Unlock()
	id := func(l Held) string { return fmt.Sprintf("%s#%016d", l.Lock, l.Token) }
	slices.SortFunc(all, func(x, y Held) int { return strings.Compare(id(x), id(y)) })
	l, err := page(r, all, id, itself)
	return Response{Body: l}, err
}
