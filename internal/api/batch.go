package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

type (
	batchBody struct {
		Operations []batchedBody `json:"operations"`
	}
	// batchedBody is one write or check of a batch.
	batchedBody struct {
		Op        string          `json:"op"`
		Key       string          `json:"key"`
		Value     json.RawMessage `json:"value"` // the elements for add and remove, the amount for increment
		TTL       string          `json:"ttl"`
		Type      string          `json:"type"`
		IfVersion string          `json:"if_version"`
		IfAbsent  bool            `json:"if_absent"`
	}
	flushBody struct {
		Replicas int    `json:"replicas"`
		Timeout  string `json:"timeout"`
	}
)

// extras lists the fields that an operation of a batch may have beside op, key and value.
var extras = map[string][]string{
	"put":       {"ttl", "type", "if_version", "if_absent"},
	"patch":     {"ttl", "if_version", "if_absent"},
	"delete":    {"if_version", "if_absent"},
	"expire":    {"ttl", "if_version"},
	"persist":   {"if_version"},
	"check":     {"if_version", "if_absent"},
	"add":       nil,
	"remove":    nil,
	"increment": nil,
	"max":       nil,
}

// batchOps are the names of these operations, in the order in which errors list them.
var batchOps = []string{"put", "patch", "delete", "add", "remove", "increment", "max", "expire", "persist", "check"}

// valueless are those of them that have no value.
var valueless = []string{"delete", "expire", "persist", "check"}

// batch makes several writes and checks as one batch. A fault in one of them is a *crdt.OpError.
func batch(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body batchBody
	if err := r.decode(&body); err != nil {
		return Response{}, err
	}
	if n := len(body.Operations); n < 1 || n > crdt.MaxOps {
		return Response{}, bad("operations: %d; want 1 to %d", n, crdt.MaxOps)
	}
	_, replicas, err := r.options(nil)
	if err != nil {
		return Response{}, err
	}
	grant := GrantOf(ctx)
	for i, op := range body.Operations {
		if err := grant.Check(Right{op.needs(), op.Key}); err != nil {
			return Response{}, &crdt.OpError{Index: i, Err: err}
		}
	}
	steps := make([]step, len(body.Operations))
	for i, op := range body.Operations {
		if steps[i], err = op.step(); err != nil {
			return Response{}, &crdt.OpError{Index: i, Err: err}
		}
	}
	results, made := make([]Written, len(steps)), make([]crdt.Version, len(steps))
	err = a.Update(ctx, func(tx *agent.Tx) error {
		seen := map[string]bool{}
		for i, op := range body.Operations {
			w := Written{Key: op.Key}
			if op.Op != "check" {
				w.Created = !slices.Contains(valueless, op.Op) && !seen[op.Key] && tx.Version(op.Key) == 0
				seen[op.Key] = true
			}
			w.Value = steps[i](tx)
			if err := tx.Err(); err != nil {
				return &crdt.OpError{Index: i, Err: err}
			}
			tx.Report(op.Key, &made[i])
			results[i] = w
		}
		return nil
	})
	if err != nil {
		if _, told := errors.AsType[*crdt.OpError](err); !told && len(results) == 1 {
			err = &crdt.OpError{Err: err}
		}
		return Response{}, err
	}
	for i := range results {
		if made[i] != 0 {
			results[i].Version = made[i].String()
		}
	}
	return Response{Body: whole(results)}, wait(ctx, a, replicas)
}

// step is one operation of a batch. It returns the number that a counter or maximum then holds.
type step func(tx *agent.Tx) *crdt.Value

// needs returns which right to its key the operation needs.
func (op batchedBody) needs() Verb {
	if op.Op == "check" {
		return Read
	}
	return Write
}

// step returns what the operation does, or the reason why it is refused.
func (op batchedBody) step() (step, error) {
	allowed, known := extras[op.Op]
	if !known {
		return nil, bad("op %q: want one of %s", op.Op, strings.Join(batchOps, ", "))
	}
	if err := crdt.ValidateKey(op.Key); err != nil {
		return nil, err
	}
	if err := op.only(allowed); err != nil {
		return nil, err
	}
	if op.Op == "check" {
		return op.check()
	}
	opts, err := op.options()
	if err != nil {
		return nil, err
	}
	switch op.Op {
	case "delete":
		return mute(func(tx *agent.Tx) { tx.Delete(op.Key, opts...) }), nil
	case "expire":
		ttl, err := duration("ttl", op.TTL, time.Millisecond, longestTTL)
		if err == nil && ttl == 0 {
			err = bad("expire needs a ttl")
		}
		return mute(func(tx *agent.Tx) { tx.Expire(op.Key, ttl, opts...) }), err
	case "persist":
		return mute(func(tx *agent.Tx) { tx.Persist(op.Key, opts...) }), nil
	}
	v, err := crdt.JSONValue(op.Value)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	return op.write(v, opts)
}

// mute returns a step without a number.
func mute(f func(tx *agent.Tx)) step {
	return func(tx *agent.Tx) *crdt.Value {
		f(tx)
		return nil
	}
}

func (op batchedBody) check() (step, error) {
	if op.IfAbsent == (op.IfVersion != "") {
		return nil, bad("check needs if_version or if_absent")
	}
	want, err := op.version()
	if err != nil {
		return nil, err
	}
	return mute(func(tx *agent.Tx) { tx.Check(op.Key, want) }), nil
}

// version returns the version of if_version, 0 if there is none.
func (op batchedBody) version() (crdt.Version, error) {
	if op.IfVersion == "" {
		return 0, nil
	}
	v, err := crdt.ParseVersion(op.IfVersion)
	if err != nil {
		return 0, bad("if_version: %v", err)
	}
	return v, nil
}

func (op batchedBody) options() ([]agent.WriteOption, error) {
	sub := Request{Key: op.Key, Query: url.Values{"ttl": {op.TTL}, "type": {op.Type}}}
	opts, _, err := sub.options(nil)
	if err != nil {
		return nil, err
	}
	v, err := op.version()
	if err != nil {
		return nil, err
	}
	if op.IfVersion != "" {
		opts = append(opts, agent.IfVersion(v))
	}
	if op.IfAbsent {
		opts = append(opts, agent.IfVersion(0))
	}
	return opts, nil
}

// only refuses fields that this kind of operation does not have.
func (op batchedBody) only(allowed []string) error {
	given := map[string]bool{"ttl": op.TTL != "", "type": op.Type != "", "if_version": op.IfVersion != "", "if_absent": op.IfAbsent}
	for _, name := range allowed {
		delete(given, name)
	}
	for _, name := range []string{"ttl", "type", "if_version", "if_absent"} {
		if given[name] {
			return bad("%s takes no %s", op.Op, name)
		}
	}
	switch none := slices.Contains(valueless, op.Op); {
	case none && op.Value != nil:
		return bad("%s takes no value", op.Op)
	case !none && op.Value == nil:
		return bad("%s needs a value", op.Op)
	}
	return nil
}

// write returns what an operation with a value does.
func (op batchedBody) write(v crdt.Value, opts []agent.WriteOption) (step, error) {
	switch op.Op {
	case "put":
		return mute(func(tx *agent.Tx) { tx.Put(op.Key, v, opts...) }), nil
	case "patch":
		return mute(func(tx *agent.Tx) { tx.Patch(op.Key, v, opts...) }), nil
	case "max":
		return func(tx *agent.Tx) *crdt.Value {
			tx.Bump(op.Key, v)
			top, _ := tx.Get(op.Key)
			return &top
		}, nil
	case "increment":
		var n int64
		if err := v.Decode(&n); err != nil {
			return nil, bad("value: want an integer within 64 bits")
		}
		return func(tx *agent.Tx) *crdt.Value {
			sum, _ := crdt.ValueOf(tx.Increment(op.Key, n)) // every integer is a value
			return &sum
		}, nil
	}
	var elements []any
	for _, e := range v.Elements() {
		elements = append(elements, e)
	}
	if len(elements) == 0 {
		return nil, bad("value: want an array of at least one element")
	}
	if op.Op == "add" {
		return mute(func(tx *agent.Tx) { tx.Add(op.Key, elements...) }), nil
	}
	return mute(func(tx *agent.Tx) { tx.Remove(op.Key, elements...) }), nil
}

// flush sends all writes of this peer to the others, and waits until the given number has them.
func flush(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	var body flushBody
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return Response{}, err
		}
	}
	if body.Replicas < 0 || body.Replicas > maxReplicas {
		return Response{}, bad("replicas %d: want 0 to %d other peers", body.Replicas, maxReplicas)
	}
	timeout, err := duration("timeout", cmp.Or(body.Timeout, "10s"), time.Millisecond, maxWait)
	if err != nil {
		return Response{}, err
	}
	ctx, err := r.Longer(timeout)
	if err != nil {
		return Response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.ForceSync(ctx); err != nil {
		return Response{}, err
	}
	return Response{Empty: true}, wait(ctx, a, body.Replicas)
}
