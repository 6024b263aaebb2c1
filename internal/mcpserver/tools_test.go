package mcpserver

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// tokens estimates what a text costs a model: JSON is about 3.5 bytes a token.
func tokens(text []byte) int { return len(text) * 10 / 35 }

func TestToolsAreFewAndShort(t *testing.T) {
	for _, memory := range []Memory{"", Memory2, Memory3, MemoryBoth} {
		x := serve(t, func(cfg *Config) { cfg.Memory = memory })
		list, err := x.connect("", nil).ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(list.Tools)
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
			if strings.Contains(string(raw), `"anyOf"`) || strings.Contains(string(raw), `"oneOf"`) {
				t.Errorf("%s: a schema that some models' interfaces refuse", tool.Name)
			}
		}
		if len(names) > 17 || tokens(raw) >= 3000 {
			t.Errorf("%d tools of about %d tokens: %v", len(names), tokens(raw), names)
		}
		t.Logf("memory %q: %d tools, %d bytes, about %d tokens", memory, len(names), len(raw), tokens(raw))
		if slices.Contains(names, "memory_usage") == (memory == Memory3) || slices.Contains(names, "memory_store") != (memory == Memory3 || memory == MemoryBoth) {
			t.Errorf("memory %q: %v", memory, names)
		}
	}
}

func TestEverySchemaIsOne(t *testing.T) {
	for _, tool := range tools {
		var schema struct {
			Type       string
			Properties map[string]struct{ Type string }
			Required   []string
		}
		if err := json.Unmarshal(tool.schema, &schema); err != nil || schema.Type != "object" {
			t.Errorf("%s: %v", tool.name, err)
		}
		for _, name := range schema.Required {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: requires %s, which it does not have", tool.name, name)
			}
		}
	}
}

// The versions of the protocol with sessions and without.
var versions = []string{"2025-06-18", "2026-07-28"}

func each(t *testing.T, tune func(*Config), f func(t *testing.T, x *fixture, session *mcp.ClientSession)) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			x := serve(t, tune)
			f(t, x, x.connect(version, nil))
		})
	}
}

func TestMemoryUsage(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		if got := s.InitializeResult().ProtocolVersion; !strings.HasSuffix(t.Name(), got) {
			t.Fatalf("speaks %s", got)
		}
		stored := x.good(s, "memory_usage", `{"action":"store","key":"plan/1","value":"{\"a\":1}"}`)
		x.shows(stored, `{"action":"store","namespace":"default","storage_type":"crdt-gossip","key":"plan/1","stored":true,"size":7,"id":"default:plan/1"}`)
		read := x.good(s, "memory_usage", `{"action":"read","key":"plan/1"}`)
		x.shows(read, `{"action":"retrieve","key":"plan/1","value":{"a":1},"found":true}`)
		if read["version"] != stored["version"] || stored["version"] == nil {
			t.Errorf("versions %v and %v", stored["version"], read["version"])
		}
		if v, _ := x.agent.Get("memory/default/plan/1"); v.String() != `"{\"a\":1}"` {
			t.Errorf("the peer holds %s", v)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"plan/1","namespace":"other"}`),
			`{"value":null,"found":false,"other_namespaces":["default"]}`)

		x.good(s, "memory_usage", `{"action":"write","key":"null","value":null,"namespace":"w"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"get","key":"null","namespace":"w"}`), `{"value":null,"found":true}`)
		x.good(s, "memory_usage", `{"action":"store","key":"object","value":{"deep":[1,"two"]},"namespace":"w","ttl":"3600"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"object","namespace":"w"}`), `{"value":{"deep":[1,"two"]}}`)
		e, _ := x.agent.Entry("memory/w/object")
		if e.Expiry() == 0 {
			t.Error("a TTL given as text was lost")
		}

		list := x.good(s, "memory_usage", `{"action":"list","namespace":"w"}`)
		x.shows(list, `{"count":2,"total":2}`)
		first := list["entries"].([]any)[0].(map[string]any)
		x.shows(first, `{"key":"object","namespace":"w","value":{"deep":[1,"two"]},"accessCount":1}`)
		by := first["metadata"].(map[string]any)
		if by["claimed_client"] != "tester 1" || first["createdAt"] == nil || first["updatedAt"] == nil {
			t.Errorf("entry %v", first)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"search","value":"TWO","namespace":"w"}`), `{"pattern":"TWO","count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"delete","key":"object","namespace":"w"}`), `{"key":"object","deleted":true}`)
		x.shows(x.good(s, "memory_usage", `{"action":"del","key":"object","namespace":"w"}`), `{"action":"delete","deleted":false}`)
		if keys, _ := x.agent.Keys("**/w/object"); len(keys) > 0 {
			t.Errorf("deleting leaves %v", keys)
		}

		warned := x.good(s, "memory_usage", `{"action":"list","namespace":"w","colour":"red","limit":"5"}`)
		if w := warned["warnings"]; w == nil || !strings.Contains(w.([]any)[0].(string), "colour") {
			t.Errorf("an unknown argument gives %v", warned)
		}
		x.bad("bad-request", s, "memory_usage", `{"action":"fly"}`)
		x.bad("bad-request", s, "memory_usage", `{}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","value":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x","value":1,"ttl":"soon"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x","value":1,"ttl":-1}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x\ud800","value":1}`) // no character
	})
}

func TestWhatOneWroteAnotherHears(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		start := x.good(s, "memory_watch", `{"timeout_s":0}`)
		x.shows(start, `{"events":[],"count":0}`)
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":"{\"n\":1}"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"b/1","value":"not wanted"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":2,"namespace":"elsewhere"}`)
		heard := x.good(s, "memory_watch", `{"prefix":"a/","since":"`+start["next"].(string)+`"}`)
		x.shows(heard, `{"count":1}`)
		e := heard["events"].([]any)[0].(map[string]any)
		x.shows(e, `{"key":"a/1","namespace":"default","cause":"put","value":{"n":1},"claimed_client":"tester 1"}`)
		if by, _ := e["writer"].(string); !strings.HasPrefix(by, "n1") {
			t.Errorf("the writer is %v", by)
		}
		after := x.good(s, "memory_watch", `{"timeout_s":"0","since":"`+heard["next"].(string)+`"}`)
		x.shows(after, `{"count":0}`) // b/1 was passed over
		again := x.good(s, "memory_watch", `{"timeout_s":0,"since":"`+start["next"].(string)+`"}`)
		x.shows(again, `{"count":2}`)

		// One that waits is woken.
		done := make(chan answered)
		go func() {
			out, _ := x.call(s, "memory_watch", `{"prefix":"late","timeout_s":25}`)
			done <- out
		}()
		for woken := false; !woken; {
			if err := x.agent.Put(t.Context(), "memory/default/late", 1); err != nil {
				t.Fatal(err)
			}
			select {
			case out := <-done:
				x.shows(out, `{"success":true}`)
				woken = true
			case <-time.After(10 * time.Millisecond): // it may not have begun to wait
			}
		}
		lagged := x.good(s, "memory_watch", `{"since":"`+start["next"].(string)+`99999"}`)
		x.shows(lagged, `{"lagged":true,"count":0}`)
		x.bad("bad-request", s, "memory_watch", `{"since":"yesterday"}`)

		// What changes elsewhere does not age the place of one who waits.
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":3,"namespace":"elsewhere"}`)
		at := start["next"].(string)
		x.soon("the place does not move", func() bool {
			out := x.good(s, "memory_watch", `{"timeout_s":0,"prefix":"nothing","since":"`+at+`"}`)
			x.shows(out, `{"count":0}`)
			at = out["next"].(string)
			return at == x.agent.Cursor().String()
		})
	})
}

func TestTasks(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.shows(x.good(s, "task_claim", `{}`), `{"queue":"tasks","claimed":false}`)
		x.shows(x.good(s, "task_add", `{"value":{"do":"it"},"id":"t1","priority":"3"}`), `{"task":"t1","added":true}`)
		x.shows(x.good(s, "task_add", `{"value":1,"id":"t1"}`), `{"added":false,"duplicate":true}`)
		c := x.good(s, "task_claim", `{"wait_s":5}`)
		x.shows(c, `{"claimed":true,"task":"t1","value":{"do":"it"},"attempt":1,"hold_s":600}`)
		x.shows(x.good(s, "task_claim", `{}`), `{"claimed":false}`)
		claim := c["claim"].(string)
		x.shows(x.good(s, "task_progress", `{"task":"t1","progress":"0.5","status":"half","claim":"`+claim+`"}`), `{"task":"t1","progress":0.5,"status":"half"}`)
		if p, err := x.agent.Tasks().Progress("t1"); err != nil || p.Progress != 0.5 {
			t.Errorf("progress %v, %v", p, err)
		}
		x.shows(x.good(s, "task_progress", `{"task":"t1","claim":"`+claim+`","hold_s":30}`), `{"hold_s":30}`)
		x.shows(x.good(s, "task_complete", `{"claim":"`+claim+`","result":{"ok":true}}`), `{"task":"t1","completed":true}`)
		done := x.good(s, "task_list", `{"task":"t1"}`)
		x.shows(done, `{"task":"t1","state":"done","result":{"ok":true},"progress":{"progress":1,"status":"completed"}}`)
		if item, err := x.agent.WorkQueue("tasks").Get("t1"); err != nil || item.Result.String() != `{"ok":true}` {
			t.Errorf("item %v, %v", item, err)
		}
		x.bad("claim-lost", s, "task_complete", `{"claim":"`+claim+`"}`)
		x.bad("barred", s, "lock_acquire", `{"name":"queues/tasks/t1"}`)
		x.bad("claim-lost", s, "task_progress", `{"task":"t1","claim":"`+claim+`"}`)

		x.good(s, "task_add", `{"value":2,"id":"t2"}`)
		claim = x.good(s, "task_claim", `{"wait_s":5}`)["claim"].(string)
		x.shows(x.good(s, "task_complete", `{"claim":"`+claim+`","error":"no","retry":false}`), `{"completed":false}`)

		// A value that does not fit is cut; the claim is there.
		if _, err := x.agent.WorkQueue("tasks").Enqueue(t.Context(), strings.Repeat("\x01", 20_000)); err != nil {
			t.Fatal(err)
		}
		long := x.good(s, "task_claim", `{"wait_s":5}`)
		x.shows(long, `{"claimed":true,"truncated":true}`)
		x.good(s, "task_complete", fmt.Sprintf(`{"claim":%q}`, long["claim"]))
		if d, _ := x.agent.WorkQueue("tasks").Depth(); d.Dead != 1 {
			t.Errorf("depth %+v", d)
		}
		x.bad("not-found", s, "task_list", `{"task":"t99"}`)
		x.bad("bad-request", s, "task_add", `{"value":1,"priority":9223372036854775808}`)
		x.bad("bad-request", s, "task_add", `{"value":1,"priority":1.5}`)
		x.bad("bad-request", s, "task_add", `{}`)
		x.bad("bad-request", s, "task_complete", `{}`)
		x.bad("bad-request", s, "task_progress", `{"progress":1}`)
	})
}

// A progress is a part of 1; one over 1 is percent, and percent has a field of its own.
func TestAProgressIsAPartOfOne(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		for _, c := range []struct{ given, want string }{
			{`"progress":0.25`, "0.25"}, {`"progress":1`, "1"}, {`"progress":"45"`, "0.45"}, {`"progress":100`, "1"},
			{`"percent":1`, "0.01"}, {`"percent":"50"`, "0.5"}, {`"status":"no more than before"`, "0.5"},
		} {
			x.shows(x.good(s, "task_progress", `{"task":"t1",`+c.given+`}`), `{"progress":`+c.want+`}`)
		}
		x.bad("bad-value", s, "task_progress", `{"task":"t1","progress":101}`)
		for _, given := range []string{`"percent":101`, `"percent":-1`, `"percent":1,"progress":1`, `"progress":"half"`} {
			x.bad("bad-request", s, "task_progress", `{"task":"t1",`+given+`}`)
		}
		if p, err := x.agent.Tasks().Progress("t1"); err != nil || p.Progress != 0.5 {
			t.Errorf("progress %v, %v", p, err)
		}
	})
}

// Agents of one daemon work beside each other: each claim is its own.
func TestAClaimIsNoOther(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		claim := func(task, arguments string) string {
			t.Helper()
			x.good(s, "task_add", `{"value":1,"id":"`+task+`"}`)
			c := x.good(s, "task_claim", arguments)
			x.shows(c, `{"claimed":true,"task":"`+task+`"}`)
			return c["claim"].(string)
		}
		first, second := claim("t1", `{"wait_s":5}`), claim("t2", `{"wait_s":5}`)
		x.shows(x.good(s, "task_complete", `{"claim":"`+first+`"}`), `{"task":"t1","completed":true}`)
		x.shows(x.good(s, "task_complete", `{"claim":"`+second+`"}`), `{"task":"t2","completed":true}`)

		long, short := claim("t3", `{"wait_s":5}`), claim("t4", `{"wait_s":5,"hold_s":0.1}`)
		x.soon("what is over is held", func() bool { return x.held() == 1 })
		x.bad("claim-lost", s, "task_complete", `{"claim":"`+short+`"}`)
		x.shows(x.good(s, "task_complete", `{"claim":"`+long+`"}`), `{"task":"t3","completed":true}`)
		x.soon("what is done is held", func() bool { return x.held() == 0 })
	})
}

func TestLocks(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		got := x.good(s, "lock_acquire", `{"name":"deploy"}`)
		x.shows(got, `{"name":"deploy","acquired":true,"hold_s":120,"guarantee":"this-peer"}`)
		lease := got["lease"].(string)
		x.bad("held", s, "lock_acquire", `{"name":"deploy"}`)
		x.bad("held", s, "lock_acquire", `{"name":"deploy","wait_s":0.1}`)
		x.shows(x.good(s, "lock_acquire", `{"name":"deploy","lease":"`+lease+`"}`), `{"acquired":true}`)
		x.bad("not-holder", s, "lock_acquire", `{"name":"other","lease":"`+lease+`"}`)
		x.bad("not-holder", s, "lock_release", `{"name":"other","lease":"`+lease+`"}`)
		x.shows(x.good(s, "lock_release", `{"name":"deploy","lease":"`+lease+`"}`), `{"released":true}`)
		x.bad("not-holder", s, "lock_acquire", `{"name":"deploy","lease":"`+lease+`"}`)
		x.good(s, "lock_acquire", `{"name":"deploy","hold_s":0.2}`) // given back by itself
		x.good(s, "lock_acquire", `{"name":"deploy","wait_s":20}`)
		x.bad("bad-lock-name", s, "lock_acquire", `{"name":"a\u0000b"}`)
		x.bad("bad-request", s, "lock_acquire", `{}`)
	})
}

// One client has its share of the leases that are held for agents, and others have theirs.
func TestAClientHasItsShareOfHolds(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.server.holds.places = api.NewShares("leases held for agents", 2, 1)
		lease := x.good(s, "lock_acquire", `{"name":"a"}`)["lease"].(string)
		x.bad("too-many-requests", s, "lock_acquire", `{"name":"b"}`)
		x.share = "another"
		x.good(s, "lock_acquire", `{"name":"b"}`)
		x.share = ""
		x.good(s, "lock_release", `{"name":"a","lease":"`+lease+`"}`)
		x.good(s, "lock_acquire", `{"name":"c"}`)
	})
}

// locks are those that are held or waited for.
func (x *fixture) locks() []api.LockEntry {
	res, err := api.Find("lock_list").Do(x.t.Context(), x.agent, api.Request{Leases: x.server.cfg.Leases})
	if err != nil {
		x.t.Error(err)
		return nil
	}
	return res.Body.(api.LockList).Items
}

// A hold outlasts the lease's own time, which is the point of it.
func TestAHoldOutlastsItsLease(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	lease := x.good(s, "lock_acquire", `{"name":"long"}`)["lease"].(string)
	left := x.locks()[0].Holders[0].Remaining
	if left > api.Duration(30*time.Second) {
		t.Fatalf("the lease lasts %v; this test waits for it", left)
	}
	renewed := make(chan struct{})
	go func() { // by looking at the lease: it gets longer again
		defer close(renewed)
		for t.Context().Err() == nil {
			list := x.locks()
			if len(list) == 0 {
				t.Error("the lock was lost")
				return
			}
			now := list[0].Holders[0].Remaining
			if now > left {
				return
			}
			left = now
			time.Sleep(10 * time.Millisecond)
		}
	}()
	<-renewed
	if out := x.good(s, "lock_acquire", `{"name":"long","lease":"`+lease+`"}`); out["hold_s"] != 120.0 {
		t.Errorf("held for %v", out)
	}
}

// A lease that is given back by another way is not held any more, and neither is one
// whose time is over.
func TestAHoldEndsWithItsLease(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	lease := x.good(s, "lock_acquire", `{"name":"a"}`)["lease"].(string)
	if _, err := api.Find("lock_release").Do(t.Context(), x.agent, api.Request{Key: "a", Query: url.Values{"lease": {lease}}, Leases: x.server.cfg.Leases}); err != nil {
		t.Fatal(err)
	}
	x.soon("what was given back is held", func() bool { return x.held() == 0 })
	x.good(s, "lock_acquire", `{"name":"b","hold_s":0.1}`)
	if n := len(x.locks()); n != 1 {
		t.Fatalf("%d leases", n)
	}
	left := x.locks()
	x.soon("what is over is held", func() bool {
		if now := x.locks(); len(now) > 0 {
			left = now
		}
		return x.held() == 0
	})
	if d := time.Duration(left[0].Holders[0].Remaining); d < 100*time.Millisecond {
		t.Errorf("the lease ran out, and was not given back: %v", left)
	}
}

func TestTheFleet(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		ctx := t.Context()
		if err := x.agent.Workers().SetStatus(ctx, "w1", agent.WorkerStatus{Status: "idle", Labels: []string{"gpu"}}); err != nil {
			t.Fatal(err)
		}
		x.shows(x.good(s, "worker_list", `{"label":"gpu"}`), `{"count":1}`)
		x.shows(x.good(s, "worker_list", `{"state":"active"}`), `{"workers":[],"count":0}`)
		x.bad("bad-request", s, "worker_list", `{"state":"asleep"}`)

		x.shows(x.good(s, "agent_coordinate", `{"task":"t1"}`), `{"agents":{},"count":0}`)
		x.good(s, "agent_coordinate", `{"task":"t1","agent":"coder","data":{"status":"working","needs":["review"]}}`)
		x.good(s, "agent_coordinate", `{"task":"t1","agent":"coder","data":"{\"progress\":0.5}"}`)
		out := x.good(s, "agent_coordinate", `{"task":"t1","data":{"status":"here"}}`)
		x.shows(out, `{"agent":"tester 1","agents":{"coder":{"status":"working","needs":["review"],"progress":0.5},"tester 1":{"status":"here"}},"count":2}`)
		x.bad("bad-request", s, "agent_coordinate", `{"data":{}}`)
		x.bad("bad-key", s, "agent_coordinate", `{"task":"a/b","data":{"x":1}}`)

		x.good(s, "memory_usage", `{"action":"store","key":"k","value":1,"namespace":"plans"}`)
		status := x.good(s, "cluster_status", `{}`)
		x.shows(status, `{"summary":"1 of 1 peer alive, this one alone.","level":"ok","peer":"n1","ready":true}`)
		if raw, _ := json.Marshal(status["namespaces"]); !strings.Contains(string(raw), `{"keys":1,"namespace":"plans"}`) {
			t.Errorf("namespaces %s", raw)
		}
	})
}

func TestOptimisticWritesAndTypes(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		first := x.good(s, "memory_usage", `{"action":"store","key":"k","value":"one","if_version":"0"}`)
		x.bad("version-conflict", s, "memory_usage", `{"action":"store","key":"k","value":"two","if_version":0}`)
		v := first["version"].(string)
		second := x.good(s, "memory_usage", `{"action":"store","key":"k","value":"two","if_version":"`+v+`"}`)
		lost := x.bad("version-conflict", s, "memory_usage", `{"action":"store","key":"k","value":"three","if_version":"`+v+`"}`)
		if lost["current_version"] != second["version"] {
			t.Errorf("a conflict names %v, not %v", lost["current_version"], second["version"])
		}
		x.bad("version-conflict", s, "memory_usage", `{"action":"delete","key":"k","if_version":"`+v+`"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"k","value":"three","if_version":"latest"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"k"}`), `{"value":"two"}`)

		x.good(s, "memory_usage", `{"action":"store","key":"n","value":2,"type":"counter"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"n","value":"3"}`) // it stays one
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"n"}`), `{"value":5}`)
		x.bad("bad-value", s, "memory_usage", `{"action":"store","key":"n","value":"many"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"s","value":"[\"b\",\"a\",\"b\"]","type":"set"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"s"}`), `{"value":["a","b"]}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"s","value":1,"type":"list"}`)
		x.bad("bad-value", s, "memory_usage", `{"action":"store","key":"s","value":1}`)

		// What the fleet's own keys hold is an object; its text becomes one.
		x.good(s, "memory_usage", `{"action":"store","key":"task-sentinel/tasks/7/state","value":"{\"status\":\"running\"}"}`)
		if state, err := x.agent.Tasks().State("7"); err != nil || state.Status != "running" {
			t.Errorf("state %v, %v", state, err)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"list","namespace":"task-sentinel"}`), `{"count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","namespace":"task-sentinel","key":"tasks/7/state"}`), `{"found":true}`)
	})
}

func TestAuthorsAreKept(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("2025-06-18", nil)
	entry := func() map[string]any {
		t.Helper()
		return x.good(s, "memory_usage", `{"action":"list"}`)["entries"].([]any)[0].(map[string]any)
	}
	x.good(s, "memory_usage", `{"action":"store","key":"k","value":1}`)
	first := entry()
	by := first["metadata"].(map[string]any)
	if by["claimed_client"] != "tester 1" || by["storedBy"] != "n1 session "+by["sessionId"].(string) || len(by["sessionId"].(string)) != 8 || strings.Contains(s.ID(), by["sessionId"].(string)) {
		t.Errorf("author %v", by)
	}
	if err := x.agent.Put(t.Context(), "memory/default/k", 2); err != nil { // past the tools
		t.Fatal(err)
	}
	if by := entry()["metadata"].(map[string]any); by["storedBy"] != "n1" {
		t.Errorf("a write past the tools is taken for one of %v", by)
	}
	x.good(s, "memory_usage", `{"action":"store","key":"k","value":3}`)
	if again := entry(); again["createdAt"] != first["createdAt"] || again["updatedAt"] == first["updatedAt"] {
		t.Errorf("first %v, then %v", first, again)
	}
}

func TestNothingFloods(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	for i := range 300 {
		v := strings.Repeat("v", 100)
		if i%10 == 0 {
			v = strings.Repeat("long ", 2000)
		}
		if err := x.agent.Put(t.Context(), fmt.Sprintf("memory/many/key-%03d", i), v); err != nil {
			t.Fatal(err)
		}
	}
	for _, arguments := range []string{`"action":"list","limit":1000`, `"action":"list","values":false,"limit":120`, `"action":"search","value":"KEY-","limit":70`} {
		seen, pages, cursor := map[string]bool{}, 0, ""
		for {
			out := x.good(s, "memory_usage", `{`+arguments+`,"namespace":"many","cursor":"`+cursor+`"}`)
			list, _ := out["entries"].([]any)
			for _, name := range []string{"results", "keys"} {
				if list == nil {
					list, _ = out[name].([]any)
				}
			}
			for _, e := range list {
				entry, ok := e.(map[string]any)
				if !ok {
					entry = map[string]any{"key": e}
				}
				if v, ok := entry["value"].(string); ok && len(v) > maxShown+10 {
					t.Errorf("a value of %d bytes in a list", len(v))
				}
				if seen[entry["key"].(string)] {
					t.Errorf("%v is shown twice", entry["key"])
				}
				seen[entry["key"].(string)] = true
			}
			pages++
			if out["next_cursor"] == nil {
				break
			}
			cursor = out["next_cursor"].(string)
		}
		if len(seen) != 300 || pages < 3 {
			t.Errorf("%s: %d keys on %d pages", arguments, len(seen), pages)
		}
	}
	x.bad("bad-request", s, "memory_usage", `{"action":"list","cursor":"%%"}`)
	x.bad("bad-request", s, "memory_usage", `{"action":"list","cursor":"AAAA"}`)

	// A long value comes in parts.
	for _, v := range []string{strings.Repeat("é\"\n\x01", 30_000), strings.Repeat("x", 40_000) + "…", strings.Repeat("…", 20_000), strings.Repeat("a", budget), `{"deep":` + strings.Repeat("[", 25) + strings.Repeat(`"x",`, 15_000) + `1` + strings.Repeat("]", 25) + `}`} {
		if err := x.agent.Put(t.Context(), "memory/default/long", v); err != nil {
			t.Fatal(err)
		}
		var whole strings.Builder
		for cursor := ""; ; {
			out := x.good(s, "memory_usage", `{"action":"retrieve","key":"long","cursor":"`+cursor+`"}`)
			whole.WriteString(out["value"].(string))
			next, more := out["next_cursor"].(string)
			if !more {
				break
			}
			if next == cursor {
				t.Fatalf("%.20q: there is no end from %s on", v, cursor)
			}
			cursor = next
		}
		if whole.String() != v {
			t.Errorf("%.20q: %d bytes came of %d", v, whole.Len(), len(v))
		}
	}
	out := x.good(s, "memory_usage", `{"action":"retrieve","key":"long"}`)
	if err := x.agent.Put(t.Context(), "memory/default/long", "changed"); err != nil {
		t.Fatal(err)
	}
	x.bad("version-conflict", s, "memory_usage", `{"action":"retrieve","key":"long","cursor":"`+out["next_cursor"].(string)+`"}`)
}
