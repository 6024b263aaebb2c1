package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

type (
	batchBody struct {
		Operations []batchedBody `json:"operations"`
	}
	// batchedBody is one write of a batch.
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
	"add":       nil,
	"remove":    nil,
	"increment": nil,
	"max":       nil,
}

// batchOps are the names of these operations, in the order in which errors list them.
var batchOps = []string{"put", "patch", "delete", "add", "remove", "increment", "max"}

// batch makes several writes as one batch. A fault in one of them is a *crdt.OpError.
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
		if err := grant.Check(Right{Write, op.Key}); err != nil {
			return Response{}, &crdt.OpError{Index: i, Err: err}
		}
	}
	b, made := a.Batch(), make([]crdt.Version, len(body.Operations))
	results := make([]Written, len(body.Operations))
	seen := map[string]bool{}
	for i, op := range body.Operations {
		if err := op.join(b); err != nil {
			return Response{}, &crdt.OpError{Index: i, Err: err}
		}
		b.Report(op.Key, &made[i])
		_, existed := a.Entry(op.Key)
		results[i] = Written{Key: op.Key, Created: !existed && !seen[op.Key] && op.Op != "delete"}
		seen[op.Key] = true
	}
	if err := b.Commit(ctx); err != nil {
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

// join adds the operation to the batch b.
func (op batchedBody) join(b *agent.Batch) error {
	allowed, known := extras[op.Op]
	if !known {
		return bad("op %q: want one of %s", op.Op, strings.Join(batchOps, ", "))
	}
	if err := crdt.ValidateKey(op.Key); err != nil {
		return err
	}
	if err := op.only(allowed); err != nil {
		return err
	}
	sub := Request{Key: op.Key, Query: url.Values{"ttl": {op.TTL}, "type": {op.Type}}}
	opts, _, err := sub.options(nil)
	if err != nil {
		return err
	}
	if op.IfVersion != "" {
		v, err := crdt.ParseVersion(op.IfVersion)
		if err != nil {
			return bad("if_version: %v", err)
		}
		opts = append(opts, agent.IfVersion(v))
	}
	if op.IfAbsent {
		opts = append(opts, agent.IfVersion(0))
	}
	if op.Op == "delete" {
		b.Delete(op.Key, opts...)
		return nil
	}
	v, err := crdt.JSONValue(op.Value)
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	return op.write(b, v, opts)
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
	switch {
	case op.Op == "delete" && op.Value != nil:
		return bad("delete takes no value")
	case op.Op != "delete" && op.Value == nil:
		return bad("%s needs a value", op.Op)
	}
	return nil
}

// write adds an operation that has a value.
func (op batchedBody) write(b *agent.Batch, v crdt.Value, opts []agent.WriteOption) error {
	switch op.Op {
	case "put":
		b.Put(op.Key, v, opts...)
	case "patch":
		b.Patch(op.Key, v, opts...)
	case "max":
		b.Bump(op.Key, v)
	case "increment":
		var n int64
		if err := v.Decode(&n); err != nil {
			return bad("value: want an integer within 64 bits")
		}
		b.Increment(op.Key, n)
	default:
		var elements []any
		for _, e := range v.Elements() {
			elements = append(elements, e)
		}
		if len(elements) == 0 {
			return bad("value: want an array of at least one element")
		}
		if op.Op == "add" {
			b.Add(op.Key, elements...)
		} else {
			b.Remove(op.Key, elements...)
		}
	}
	return nil
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
