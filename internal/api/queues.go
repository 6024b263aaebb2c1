package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// Enqueued is the answer for an item that was enqueued now or, as a duplicate, before.
type Enqueued struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"`
}

// Claimed is a claim as its worker sees it. The lease and the token finish and extend the claim,
// at every daemon of the cluster.
type Claimed struct {
	ID        string     `json:"id"`
	Value     crdt.Value `json:"value"`
	Priority  int        `json:"priority,omitempty"`
	Attempt   int        `json:"attempt"`
	Token     uint64     `json:"token"`
	Lease     string     `json:"lease"`
	Remaining Duration   `json:"remaining"`
}

// Extended is how long a claim lasts after it was extended.
type Extended struct {
	Remaining Duration `json:"remaining"`
}

// Changed is how many items an operation changed.
type Changed struct {
	Changed int `json:"changed"`
}

// duration reads a duration from a body or a query.
func duration(name, text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(cmp.Or(text, "0s"))
	if err != nil || text != "" && (d < least || d > most) {
		return 0, bad("%s %q: want a duration such as 30s, of %v to %v", name, text, least, most)
	}
	return d, nil
}

func listQueues(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	all := readable(ctx, a.Stats().Queues)
	names := slices.Sorted(maps.Keys(all))
	l, err := page(r, names, strings.Clone, func(name string) (WorkQueue, int, bool) { return WorkQueue{name, all[name]}, 0, true })
	return Response{Body: l}, err
}

// readable returns the queues that the caller may read.
func readable[T any](ctx context.Context, queues map[string]T) map[string]T {
	grant := GrantOf(ctx)
	maps.DeleteFunc(queues, func(name string, _ T) bool { return !grant.MayRead(keyspace.Queues + name) })
	return queues
}

func enqueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body itemBody
	if err := r.decode(&body); err != nil {
		return Response{}, err
	}
	if body.Value.IsZero() {
		return Response{}, bad(`body: want {"value":…}, with "priority", "delay", "id" and "max_attempts" if you like`)
	}
	delay, err := duration("delay", body.Delay, 0, workqueue.MaxDelay)
	if err != nil {
		return Response{}, err
	}
	copies, err := strconv.Atoi(cmp.Or(r.Query.Get("replicas"), "0"))
	if err != nil || copies < 0 || body.MaxAttempts < 0 {
		return Response{}, bad("replicas and max_attempts: want whole numbers, 0 or more")
	}
	id, err := a.WorkQueue(r.Queue).Enqueue(ctx, body.Value, workqueue.WithPriority(body.Priority), workqueue.WithDelay(delay),
		workqueue.WithID(body.ID), workqueue.WithMaxAttempts(body.MaxAttempts))
	duplicate := errors.Is(err, workqueue.ErrDuplicate)
	if duplicate {
		err = nil
	}
	if err == nil && copies > 0 {
		err = a.WaitReplicated(ctx, copies)
	}
	return Response{Created: !duplicate, Body: Enqueued{id, duplicate}}, err
}

func claimItems(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	body := claimBody{Max: 1}
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return Response{}, err
		}
	}
	wait, err := duration("wait", body.Wait, 0, maxWait)
	if err != nil {
		return Response{}, err
	}
	ttl, err := duration("ttl", body.TTL, 500*time.Millisecond, 24*time.Hour)
	if err != nil {
		return Response{}, err
	}
	if body.Max < 1 || body.Max > workqueue.MaxBatch {
		return Response{}, bad("max %d: want 1 to %d", body.Max, workqueue.MaxBatch)
	}
	ctx, err := r.Longer(wait)
	if err != nil {
		return Response{}, err
	}
	list, err := a.WorkQueue(r.Queue).ClaimBatch(ctx, body.Max, workqueue.WithBearer(), workqueue.WithTTL(ttl), workqueue.WithWait(wait))
	if err != nil && !errors.Is(err, workqueue.ErrEmpty) {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the daemon is stopping, or the token was withdrawn
		}
		return Response{}, err
	}
	got := []Claimed{}
	for _, c := range list {
		if ctx.Err() != nil { // the client is gone, so the item is released
			if err := c.Release(context.WithoutCancel(ctx)); err != nil {
				return Response{}, err
			}
			continue
		}
		got = append(got, Claimed{ID: c.ID, Value: c.Value, Priority: c.Priority, Attempt: c.Attempt, Token: c.Token(),
			Lease: c.Lease(), Remaining: Duration(c.Remaining())})
	}
	return Response{Body: whole(got)}, nil
}

// proof returns the body of a request about a claim, with the lease and the token that prove it.
func (r Request) proof() (body verdictBody, err error) {
	if err = r.decode(&body); err == nil && (body.Lease == "" || body.Token == 0) {
		err = bad(`body: want {"lease":"…","token":…} from the answer of the request that claimed the item`)
	}
	return body, err
}

// claim returns the claim that a request names.
func (r Request) claim(ctx context.Context, a *agent.Agent) (*workqueue.Claim, verdictBody, error) {
	body, err := r.proof()
	if err != nil {
		return nil, body, err
	}
	c, err := a.WorkQueue(r.Queue).Claimed(ctx, r.ID, body.Lease, body.Token)
	return c, body, err
}

func completeItem(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	c, body, err := r.claim(ctx, a)
	if err == nil {
		err = c.Complete(ctx, body.Result)
	}
	return Response{Empty: true}, err
}

func failItem(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	c, body, err := r.claim(ctx, a)
	if err != nil {
		return Response{}, err
	}
	var opts []workqueue.FailOption
	switch {
	case body.Retry == "never":
		opts = append(opts, workqueue.WithoutRetry())
	case body.Retry != "":
		after, err := duration("retry", body.Retry, 0, workqueue.MaxDelay)
		if err != nil {
			return Response{}, err
		}
		opts = append(opts, workqueue.WithRetryAfter(after))
	}
	return Response{Empty: true}, c.Fail(ctx, errors.New(cmp.Or(body.Error, "failed")), opts...)
}

func extendItem(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	body, err := r.proof()
	if err != nil {
		return Response{}, err
	}
	ctx, cancel := renewing(ctx, body.Lease)
	defer cancel()
	c, err := a.WorkQueue(r.Queue).Claimed(ctx, r.ID, body.Lease, body.Token)
	if err != nil {
		return Response{}, err
	}
	left, err := c.Extend(ctx)
	return Response{Body: Extended{Duration(left)}}, err
}

func queueDepth(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	d, err := a.WorkQueue(r.Queue).Depth()
	return Response{Body: d}, err
}

func peekItems(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	if r.Query.Get("state") != "" {
		return listItems(ctx, a, r)
	}
	if r.Query.Get("after") != "" {
		return Response{}, bad("after: it needs a state too")
	}
	limit, err := r.limit()
	if err != nil {
		return Response{}, err
	}
	list, err := a.WorkQueue(r.Queue).Peek(limit)
	if err != nil {
		return Response{}, err
	}
	depth, err := a.WorkQueue(r.Queue).Depth()
	return Response{Body: List[workqueue.Item]{Items: list, Count: new(max(depth.Pending, len(list)))}}, err
}

// itemStates are the values that ?state= may have for a queue's items.
var itemStates = []string{"all", "pending", "delayed", "claimed", "done", "dead"}

func getItem(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	item, err := a.WorkQueue(r.Queue).Get(r.ID)
	return Response{Body: item}, err
}

func pauseQueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return Response{Empty: true}, a.WorkQueue(r.Queue).Pause(ctx)
}

func resumeQueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return Response{Empty: true}, a.WorkQueue(r.Queue).Resume(ctx)
}

// drainQueue starts a drain. It does not wait for the end, which the depth shows.
func drainQueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	now, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := a.WorkQueue(r.Queue).Drain(now); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return Response{}, err
	}
	return queueDepth(ctx, a, r)
}

func purgeQueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var states []workqueue.State
	for _, s := range r.Query["state"] {
		switch state := workqueue.State(s); state {
		case workqueue.Pending, workqueue.Delayed, workqueue.Done, workqueue.Dead:
			states = append(states, state)
		default:
			return Response{}, bad("state %q: want pending, delayed, done or dead", s)
		}
	}
	n, err := a.WorkQueue(r.Queue).Purge(ctx, states...)
	return Response{Body: Changed{n}}, err
}

func requeueItems(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body idsBody
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return Response{}, err
		}
	}
	n, err := a.WorkQueue(r.Queue).Requeue(ctx, body.IDs...)
	return Response{Body: Changed{n}}, err
}
