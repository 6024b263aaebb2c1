package mcpserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func keysOf(list any, name string) (keys []string) {
	all, _ := list.([]any)
	for _, e := range all {
		switch e := e.(type) {
		case string:
			keys = append(keys, e)
		case map[string]any:
			keys = append(keys, e[name].(string))
		}
	}
	return keys
}

func TestASearchRanksByWords(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		for key, value := range map[string]string{
			"a": "the deploy plan of the blue cluster", "b": "blue plan", "c": "the plan to deploy", "d": "green", "e-blue": "plan: deploy",
		} {
			x.good(s, "memory_usage", fmt.Sprintf(`{"action":"store","key":%q,"value":%q}`, key, value))
		}
		out := x.good(s, "memory_search", `{"pattern":"deploy  PLAN blue","limit":2}`)
		got := keysOf(out["results"], "key")
		out = x.good(s, "memory_search", `{"pattern":"deploy  PLAN blue","cursor":"`+out["next_cursor"].(string)+`"}`)
		got = append(got, keysOf(out["results"], "key")...)
		if len(got) != 4 || got[0]+got[1] != "ae-blue" && got[0]+got[1] != "e-bluea" {
			t.Errorf("found %v; want a and e-blue, with three words, before b and c", got)
		}
		if first := keysOf(x.good(s, "memory_search", `{"pattern":"plan to deploy"}`)["results"], "key"); first[0] != "c" {
			t.Errorf("found %v; want the whole phrase first", first)
		}
		names := x.good(s, "memory_search", `{"pattern":"plan","namespace":"default","values":false}`)
		if got := keysOf(names["keys"], ""); len(got) != 4 {
			t.Errorf("names %v", names)
		}
	})
}

func TestAListOfNamesIsShort(t *testing.T) {
	x := serve(t, nil)
	for i := range 1000 {
		if err := x.agent.Put(t.Context(), fmt.Sprintf("memory/many/key-%04d", i), i); err != nil {
			t.Fatal(err)
		}
	}
	_, text := x.post(toolCall("1", "memory_usage", `{"action":"list","namespace":"many","values":false}`))
	if n := strings.Count(text, "key-"); n != 2000 || len(text) > 40_000 || strings.Contains(text, `\n`) { // each key is in the text and in the structured content
		t.Errorf("%d names in %d bytes: %.300s", n, len(text), text)
	}
}

func TestTasksAreListed(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		for i := range 6 {
			x.good(s, "task_add", fmt.Sprintf(`{"id":"t%d","value":{"n":%d},"priority":%d}`, i, i, -i))
		}
		other := x.connect(versions[0], nil)
		x.shows(x.good(s, "task_claim", `{"wait_s":5}`), `{"task":"t0"}`)
		x.bad("claim-lost", other, "task_complete", `{"task":"t0"}`) // the claim is another agent's
		x.shows(x.good(s, "task_complete", `{"taskId":"t0","result":"fine"}`), `{"task":"t0","completed":true}`)
		x.good(s, "task_claim", `{"wait_s":5}`)
		x.good(s, "task_complete", `{"task":"t1","error":"broken","retry":false}`)
		x.good(s, "task_claim", `{"wait_s":5}`)

		list := x.good(s, "task_list", `{}`)
		x.shows(list, `{"queue":"tasks","count":6,"next_cursor":null}`)
		for i, want := range []string{`{"task":"t0","state":"done","result":"fine"}`, `{"task":"t1","state":"dead","error":"broken","attempt":1}`,
			`{"task":"t2","state":"claimed","value":{"n":2}}`, `{"task":"t3","state":"pending","priority":-3}`} {
			x.shows(list["tasks"].([]any)[i].(map[string]any), want)
		}
		x.shows(x.good(s, "task_list", `{"state":"pending","values":false}`), `{"tasks":["t3","t4","t5"]}`)
		page := x.good(s, "task_list", `{"limit":4,"values":false}`)
		x.shows(x.good(s, "task_list", `{"cursor":"`+page["next_cursor"].(string)+`","values":false}`), `{"tasks":["t4","t5"]}`)

		long := strings.Repeat("long é ", 10_000)
		if _, err := x.agent.WorkQueue("q").Enqueue(t.Context(), long, workqueue.WithID("l")); err != nil {
			t.Fatal(err)
		}
		var whole strings.Builder
		for cursor := ""; ; {
			out := x.good(s, "task_list", `{"queue":"q","task":"l","cursor":"`+cursor+`"}`)
			whole.WriteString(out["value"].(string))
			var more bool
			if cursor, more = out["next_cursor"].(string); !more {
				break
			}
		}
		if whole.String() != long {
			t.Errorf("%d bytes came of %d", whole.Len(), len(long))
		}
		x.as = func() *api.Grant { return &api.Grant{Name: "nobody"} }
		x.bad("forbidden", s, "task_list", `{}`)
		x.as = func() *api.Grant { return nil }
	})
}

func TestWhoHoldsALock(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		got := x.good(s, "lock_acquire", `{"name":"a/b","hold_s":60}`)
		lease := got["lease"].(string)
		x.shows(x.good(s, "lock_acquire", `{"name":"a/b","lease":"`+lease+`","hold_s":300}`), `{"hold_s":300}`)
		holders := x.bad("held", s, "lock_acquire", `{"name":"a/b"}`)["holders"].([]any)
		x.shows(holders[0].(map[string]any), `{"claimed_client":"tester 1","hold_s":300}`)
		res, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "sentinel://locks"})
		if err != nil || !strings.Contains(res.Contents[0].Text, `"claimed_client":"tester 1"`) || !strings.Contains(res.Contents[0].Text, `"waiters":[]`) {
			t.Errorf("%v, %v", res, err)
		}
		x.good(s, "lock_release", `{"name":"a/b","lease":"`+lease+`"}`)
		if keys, _ := x.agent.Keys(authors + "**"); len(keys) > 0 {
			t.Errorf("what is left: %v", keys)
		}
		l, err := x.agent.Locks().TryLock(t.Context(), "a/b") // without a tool
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Unlock(t.Context()) }()
		x.shows(x.bad("held", s, "lock_acquire", `{"name":"a/b"}`)["holders"].([]any)[0].(map[string]any), `{"writer":"n1"}`)
	})
}

// Numbers that JavaScript would change are listed as text.
func TestLongNumbersAreSpelled(t *testing.T) {
	x := serve(t, nil)
	session := x.greet()
	x.raw(session, "memory_usage", `{"action":"store","key":"k","value":{"a/b~":[9007199254740992,9007199254740993,-9223372036854775808],"f":1.5,"t":"9007199254740993"}}`)
	out := x.raw(session, "memory_usage", `{"action":"retrieve","key":"k"}`)
	raw, _ := json.Marshal(out["exact_numbers"])
	if want := `{"/value/a~1b~0/1":"9007199254740993","/value/a~1b~0/2":"-9223372036854775808"}`; string(raw) != want {
		t.Errorf("spelled are %s; want %s", raw, want)
	}
	x.raw(session, "memory_usage", `{"action":"store","key":"many","value":[`+strings.Repeat("9007199254740993,", 50)+`1]}`)
	out = x.raw(session, "memory_usage", `{"action":"retrieve","key":"many"}`)
	if n := len(out["exact_numbers"].(map[string]any)); n != maxExact || out["warnings"] == nil {
		t.Errorf("%d are spelled, %v", n, out["warnings"])
	}
}

// Every answer that is cut says how to get the rest.
func TestEveryCutAnswerGoesOn(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	long := strings.Repeat("x", 1500)
	const n = 60
	for i := range n {
		if err := x.agent.Workers().SetStatus(t.Context(), fmt.Sprintf("w%02d", i), fleet.WorkerStatus{Status: long}); err != nil {
			t.Fatal(err)
		}
		if err := x.agent.Agents().SetCoordination(t.Context(), "t", fmt.Sprintf("a%02d", i), map[string]any{"d": long}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if err := x.agent.Put(t.Context(), fmt.Sprintf("memory/%s-%03d/k", strings.Repeat("n", 100), i), 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		tool, arguments, list string
		want                  int
	}{
		{"worker_list", ``, "workers", n}, {"agent_coordinate", `"task":"t",`, "agents", n}, {"cluster_status", ``, "namespaces", 301},
	} {
		got, pages, cursor := 0, 0, ""
		for {
			out := x.good(s, c.tool, `{`+c.arguments+`"cursor":"`+cursor+`"}`)
			switch list := out[c.list].(type) {
			case []any:
				got += len(list)
			case map[string]any:
				got += len(list)
			}
			pages++
			next, more := out["next_cursor"].(string)
			if !more || pages > n {
				break
			}
			cursor = next
		}
		if got != c.want || pages < 2 {
			t.Errorf("%s: %d of %d on %d pages", c.tool, got, c.want, pages)
		}
	}
}
