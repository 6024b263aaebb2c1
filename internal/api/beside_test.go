package api

import (
	"errors"
	"net/url"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// A key and what a surface writes beside it are one batch, and the latter needs no right of the
// caller.
func TestASurfaceWritesBesideAKey(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a := peers[0]
		ctx := WithGrant(t.Context(), &Grant{Name: "ci", Rights: []Right{{Write, "mine"}}})
		do := func(name, key, body string, cond *Condition, beside func(*agent.Tx)) (Response, error) {
			return Find(name).Do(ctx, a, Request{Key: key, Body: []byte(body), Query: url.Values{}, If: cond, Beside: beside})
		}
		note := func(tx *agent.Tx) { tx.Put("note", "by me") }
		noted := func(what string, want bool) {
			t.Helper()
			if _, ok := a.Get("note"); ok != want {
				t.Errorf("%s: a note is there: %t, want %t", what, ok, want)
			}
		}
		if _, err := do("kv_put", "theirs", "1", nil, note); !errors.As(err, new(*ForbiddenError)) {
			t.Errorf("another's key: %v", err)
		}
		if _, err := do("kv_put", "mine/k", "1", &Condition{Exists: true}, note); !errors.As(err, new(*ConditionError)) {
			t.Errorf("a condition that fails: %v", err)
		}
		noted("refused", false)
		if _, err := do("counter_add", "mine/n", `{"add":2}`, nil, note); err != nil {
			t.Error(err)
		}
		noted("counted", true)
		if _, err := do("kv_put", "mine/k", "1", nil, note); err != nil {
			t.Error(err)
		}
		res, err := do("kv_delete", "mine/k", "", nil, func(tx *agent.Tx) { tx.Delete("note") })
		if gone, ok := res.Body.(Deleted); err != nil || !ok || !gone.Deleted {
			t.Errorf("deleted %+v, %v", res, err)
		}
		noted("deleted", false)
	})
}
