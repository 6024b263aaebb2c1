package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

func TestARightCoversWhatLiesBelowItsKey(t *testing.T) {
	f := func(have, want Right, ok bool) {
		t.Helper()
		g := &Grant{Name: "ci", Rights: []Right{have}}
		if g.Allows(want) != ok {
			t.Errorf("%s covers %s: want %t", have, want, ok)
		}
		if err := g.Check(want); (err == nil) != ok {
			t.Errorf("%s for %s: %v", have, want, err)
		}
	}
	f(Right{Read, "tasks/"}, Right{Read, "tasks/42"}, true)
	f(Right{Read, "tasks"}, Right{Read, "tasks/42"}, true)
	f(Right{Read, "tasks"}, Right{Read, "tasks"}, true)
	f(Right{Read, "tasks"}, Right{Read, "tasks-secret"}, false)
	f(Right{Read, "tasks/42/state"}, Right{Read, "tasks/42"}, false)
	f(Right{Read, "tasks"}, Right{Write, "tasks/42"}, false)
	f(Right{Write, "tasks"}, Right{Read, "tasks/42"}, true)
	f(Right{Read, "*"}, Right{Read, "any/key"}, true)
	f(Right{Read, ""}, Right{Read, "any/key"}, false)
	f(Right{Read, "/"}, Right{Read, "any/key"}, false)
	f(Right{Write, "*"}, Right{Lock, "deploy"}, false)
	f(Right{Lock, "deploy"}, Right{Lock, "deploy/eu"}, true)
	f(Right{Lock, "*"}, Right{Read, "deploy"}, false)
	f(Right{Write, "*"}, Right{Admin, ""}, false)
	f(Right{Admin, ""}, Right{Admin, ""}, true)
	f(Right{Admin, ""}, Right{Read, "k"}, false)
	var all *Grant
	if !all.Allows(Right{Admin, ""}) || !all.MayRead("k") || !all.Allows(Right{Write, "k"}) || !all.MayLock("k") || all.CheckMatch("**") != nil {
		t.Error("no grant does not mean everything")
	}
}

func TestAMatchNeedsAKeyThatMayBeRead(t *testing.T) {
	f := func(have, pattern string, ok bool) {
		t.Helper()
		if err := (&Grant{Name: "ci", Rights: []Right{{Read, have}}}).CheckMatch(pattern); (err == nil) != ok {
			t.Errorf("%s with read:%s: %v", pattern, have, err)
		}
	}
	f("tasks/", "**", true)
	f("tasks/42", "tasks/*", true)
	f("tasks/42", "ta*/**", true)
	f("tasks", "tasks/42/state", true)
	f("tasks", "workers/**", false)
	f("tasks/42", "tasks/43/*", false)
	f("tasks", "tasks-secret/**", false)
	f("*", "workers/**", true)
}

// A caller without rights can use only the operations that are open to everybody.
func TestEveryOperationAsksForItsRight(t *testing.T) {
	everybodys := []string{"members", "stats", "digest", "task_list", "worker_list", "lock_list", "work_queues", "verdict", "flush"}
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		ctx := WithGrant(t.Context(), &Grant{Name: "nobody"})
		for _, op := range Operations {
			if op.Streams() {
				continue
			}
			var body []byte
			if op.Name == "batch" { // the batch names its keys in its body
				body = []byte(`{"operations":[{"op":"delete","key":"k"}]}`)
			}
			_, err := op.Do(ctx, peers[0], Request{Body: body, Key: "k", ID: "i", Agent: "a", Queue: "q", Query: url.Values{}, Leases: NewLeases()})
			if _, forbidden := errors.AsType[*ForbiddenError](err); forbidden == slices.Contains(everybodys, op.Name) {
				t.Errorf("%s: %v", op.Name, err)
			}
		}
	})
}

// Rights are checked first: a caller that may read no key a glob could match gets a refusal,
// whatever the glob is, and before any key is looked at.
func TestRightsComeBeforeGlobs(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		ctx := WithGrant(t.Context(), &Grant{Name: "ci", Rights: []Right{{Read, "mine"}}})
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := peers[0].Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"kv_list", "conflicts"} {
			r := Request{Query: url.Values{"match": {"yours/[z"}}}
			if _, err := Find(name).Do(ctx, peers[0], r); err == nil || !strings.Contains(err.Error(), "lacks read:yours/[z") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := Find("kv_list").Do(gone, peers[0], Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the client has gone, and the list is %v", err)
		}
	})
}

func TestAListShowsWhatMayBeRead(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a := peers[0]
		if err := errors.Join(
			a.Put(t.Context(), "mine/k", 1), a.Put(t.Context(), "theirs/k", 2),
			a.Tasks().SetState(t.Context(), "42", map[string]any{"s": 1}), a.Tasks().SetState(t.Context(), "43", map[string]any{"s": 1}),
			a.Workers().SetStatus(t.Context(), "w1", 1), a.Workers().SetStatus(t.Context(), "w2", 1),
		); err != nil {
			t.Fatal(err)
		}
		g := &Grant{Name: "ci", Rights: []Right{{Read, "mine"}, {Write, "task-sentinel/tasks/42"}, {Read, "task-sentinel/workers/w1"}}}
		ask := func(name string, query ...string) any {
			t.Helper()
			res, err := Find(name).Do(WithGrant(t.Context(), g), a, Request{Query: queryOf(query...)})
			if err != nil {
				t.Fatal(err)
			}
			return res.Body
		}
		if l := ask("kv_list", "count", "true").(List[Key]); *l.Count != 3 || l.Items[0].Key != "mine/k" {
			t.Errorf("keys: %+v", l)
		}
		if l := ask("task_list").(List[Task]); len(l.Items) != 1 || l.Items[0].ID != "42" {
			t.Errorf("tasks: %+v", l)
		}
		if l := ask("worker_list").(List[Worker]); *l.Count != 1 || l.Items[0].ID != "w1" {
			t.Errorf("workers: %+v", l)
		}
	})
}

// An operation writes only below the key that its right names, so that a grant of this key is
// enough, and covers all of it.
func TestNothingIsWrittenBeyondTheRight(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		sub, err := peers[0].Watch(t.Context(), "**")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		f := func(name string, r Request, body string) Response {
			t.Helper()
			op := Find(name)
			r.Body = []byte(body)
			right := op.Right(r)
			res, err := op.Do(WithGrant(t.Context(), &Grant{Name: "ci", Rights: []Right{right}}), peers[0], r)
			if err != nil {
				t.Errorf("%s with %s: %v", name, right, err)
			}
			synctest.Wait()
			for {
				select {
				case e := <-sub.C():
					if !below(e.Key, right.Key) {
						t.Errorf("%s with %s wrote %s", name, right, e.Key)
					}
					synctest.Wait()
					continue
				default:
				}
				return res
			}
		}
		f("kv_put", Request{Key: "k"}, `1`)
		f("kv_delete", Request{Key: "k"}, ``)
		f("kv_patch", Request{Key: "o"}, `{"f":1}`)
		f("set_update", Request{Key: "s"}, `{"add":[1]}`)
		f("counter_add", Request{Key: "c"}, `{"add":1}`)
		f("task_set_state", Request{ID: "1"}, `{"f":1}`)
		f("task_set_progress", Request{ID: "1"}, `{"progress":1,"status":"s"}`)
		f("agent_coordinate", Request{ID: "1", Agent: "me"}, `{"role":"r"}`)
		f("task_delete", Request{ID: "1"}, ``)
		f("worker_set_status", Request{ID: "w"}, `{"status":"busy"}`)
		f("worker_set_capacity", Request{ID: "w"}, `{"capacity":1}`)
		f("worker_heartbeat", Request{ID: "w"}, ``)
		f("worker_delete", Request{ID: "w"}, ``)
		f("queue_set", Request{}, `{"pending":["a"]}`)
		f("assignments_set", Request{}, `{"w":["a"]}`)
		f("metrics_set", Request{}, `{"m":1}`)
		f("work_enqueue", Request{Queue: "q"}, `{"value":1,"id":"i"}`)
		claims, _ := f("work_claim", Request{Queue: "q", Leases: NewLeases()}, ``).Body.(List[Claimed])
		if len(claims.Items) != 1 {
			t.Fatalf("%+v", claims)
		}
		c := claims.Items[0]
		f("work_complete", Request{Queue: "q", ID: "i"}, fmt.Sprintf(`{"lease":%q,"token":%d}`, c.Lease, c.Token))
		f("work_pause", Request{Queue: "q"}, ``)
		f("work_resume", Request{Queue: "q"}, ``)
		f("work_drain", Request{Queue: "q"}, ``)
		f("work_purge", Request{Queue: "q"}, ``)
	})
}

func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return query
}
