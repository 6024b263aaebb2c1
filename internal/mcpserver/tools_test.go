package mcpserver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
)

// tokens estimates the cost of a text for a model: JSON has about 3.5 bytes a token.
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

// A progress is a fraction of 1. A number over 1 is a percentage, which also has a field of its
// own.
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

// Agents of one daemon work concurrently, each with its own claim.
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

func TestTheFleet(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		ctx := t.Context()
		if err := x.agent.Workers().SetStatus(ctx, "w1", fleet.WorkerStatus{Status: "idle", Labels: []string{"gpu"}}); err != nil {
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
