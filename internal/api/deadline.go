package api

import (
	"context"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Deadline says when a key ends.
type Deadline struct {
	Key string     `json:"key"`
	At  *time.Time `json:"at,omitempty"`  // when the key, or the first part of it, ends; omitted if nothing of it does
	TTL *Duration  `json:"ttl,omitempty"` // the time until then, by this peer's clock
}

func deadlineOf(key string, ends uint64) Deadline {
	if ends == 0 {
		return Deadline{Key: key}
	}
	at := time.UnixMilli(int64(ends)).UTC()
	return Deadline{key, &at, new(Duration(max(time.Until(at), 0)))}
}

func getDeadline(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	if err := crdt.ValidateKey(r.Key); err != nil {
		return Response{}, err
	}
	e, ok := a.Entry(r.Key)
	if !ok {
		return Response{}, agent.ErrNotFound
	}
	return Response{Version: e.Version(), Body: deadlineOf(r.Key, e.Expiry())}, nil
}

func setDeadline(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	ttl, err := duration("ttl", r.Query.Get("ttl"), time.Millisecond, longestTTL)
	if err != nil {
		return Response{}, err
	}
	if ttl == 0 {
		return Response{}, bad("ttl is missing: want the time until the key ends, such as ?ttl=30s")
	}
	return r.end(ctx, a, uint64(time.Now().Add(ttl).UnixMilli()), func(tx *agent.Tx, opts []agent.WriteOption) { tx.Expire(r.Key, ttl, opts...) })
}

func removeDeadline(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return r.end(ctx, a, 0, func(tx *agent.Tx, opts []agent.WriteOption) { tx.Persist(r.Key, opts...) })
}

// end makes the write of f, which sets the deadline of r.Key, and answers with the deadline, in Unix
// milliseconds. It fails with ErrNotFound if the key is absent.
func (r Request) end(ctx context.Context, a *agent.Agent, ends uint64, f func(*agent.Tx, []agent.WriteOption)) (Response, error) {
	var made crdt.Version
	opts, replicas, err := r.options(&made)
	if err == nil {
		opts, err = r.onCondition(a, opts)
	}
	if err != nil {
		return Response{}, err
	}
	err = a.Update(ctx, func(tx *agent.Tx) error {
		if tx.Version(r.Key) == 0 && tx.Err() == nil {
			return agent.ErrNotFound
		}
		f(tx, opts)
		if r.Beside != nil {
			r.Beside(tx)
		}
		return nil
	})
	if err != nil {
		return Response{}, err
	}
	return Response{Version: made, Body: deadlineOf(r.Key, ends)}, wait(ctx, a, replicas)
}
