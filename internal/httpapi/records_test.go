package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

func TestTasksWorkersAndAgentsAreServed(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PATCH", "/v1/tasks/42/state", `{"status":"running","labels":["gpu"]}`)
		x.must(200, "PATCH", "/v1/tasks/42/state", `{"worker":"w7","labels":["eu"],"odd":{"a":1}}`)
		const state = `{"labels":["eu","gpu"],"odd":{"a":1},"status":"running","worker":"w7"}`
		etag := x.reads("/v1/tasks/42/state", state).header.Get("ETag")
		x.refused("version-conflict", x.must(412, "PATCH", "/v1/tasks/42/state", `{}`, "If-None-Match", "*"))
		x.must(200, "PATCH", "/v1/tasks/42/state?ttl=1h", `{"odd":null}`, "If-Match", etag)
		x.reads("/v1/keys/task-sentinel/tasks/42/state", `{"labels":["eu","gpu"],"status":"running","worker":"w7"}`)
		x.must(201, "PUT", "/v1/tasks/42/progress", `{"progress":0.5,"status":"half"}`)
		x.reads("/v1/tasks/42/progress", `{"progress":0.5,"status":"half"}`)
		x.must(201, "PATCH", "/v1/agents/42/coder", `{"role":"coder"}`)
		x.must(201, "PATCH", "/v1/agents/42/tester", `{"role":"tester","needs":["build"]}`)
		x.reads("/v1/agents/42/tester", `{"needs":["build"],"role":"tester"}`)
		x.reads("/v1/tasks/42", `{"id":"42","state":{"labels":["eu","gpu"],"status":"running","worker":"w7"},"progress":{"progress":0.5,"status":"half"},"agents":{"coder":{"role":"coder"},"tester":{"needs":["build"],"role":"tester"}}}`)
		if got := x.must(200, "GET", "/v1/agents/42", ""); len(got.body) < 50 {
			t.Errorf("agents: %s", got.body)
		}
		x.reads("/v1/agents/43", `{"items":[],"count":0}`)
		x.must(201, "PATCH", "/v1/tasks/7/state", `{}`)
		x.reads("/v1/tasks?limit=1", `{"items":[{"id":"42","state":{"labels":["eu","gpu"],"status":"running","worker":"w7"},"progress":{"progress":0.5,"status":"half"}}],"next":"42"}`)
		x.reads("/v1/tasks?after=42", `{"items":[{"id":"7","state":{}}]}`)
		x.must(204, "DELETE", "/v1/tasks/42", "")
		x.refused("not-found", x.must(404, "GET", "/v1/tasks/42", ""))
		x.refused("not-found", x.must(404, "GET", "/v1/agents/42/coder", ""))

		x.must(204, "POST", "/v1/workers/py-1/heartbeat", "")
		x.must(204, "POST", "/v1/workers/py-2/heartbeat", `{"ttl":"2m"}`)
		x.must(201, "PUT", "/v1/workers/py-1/status", `{"status":"busy","running":1,"labels":["gpu"]}`)
		x.must(201, "PUT", "/v1/workers/py-1/capacity", `{"capacity":4}`)
		x.reads("/v1/workers/py-1/status", `{"labels":["gpu"],"running":1,"status":"busy"}`)
		x.reads("/v1/workers/py-1", `{"id":"py-1","state":"active","host":"n1","capacity":4,"status":"busy","running":1,"labels":["gpu"],"expires":"30s","free":3}`)
		x.reads("/v1/workers?free=3&label=gpu", `{"items":[`+x.do("GET", "/v1/workers/py-1", "").body+`],"count":1}`)
		x.reads("/v1/workers?free=4", `{"items":[],"count":0}`)
		x.reads("/v1/workers?label=gpu&label=eu", `{"items":[],"count":0}`)
		time.Sleep(time.Minute)
		x.reads("/v1/workers?state=gone", `{"items":[{"id":"py-1","state":"gone","capacity":4,"status":"busy","running":1,"labels":["gpu"],"free":0}],"count":1}`)
		x.reads("/v1/workers?free=1", `{"items":[],"count":0}`) // a worker that is gone has no room
		x.must(201, "PUT", "/v1/workers/ts-1/status", `{"state":"busy","tasks":["a","b"],"capacity":5}`)
		x.must(204, "POST", "/v1/workers/ts-1/heartbeat", "")
		x.reads("/v1/workers?free=3", `{"items":[{"id":"ts-1","state":"active","host":"n1","capacity":5,"status":"busy","running":2,"expires":"30s","free":3}],"count":1}`)
		x.must(200, "PUT", "/v1/workers/ts-1/status", `{"state":"idle","tasks":1,"capacity":5}`)
		x.must(201, "PUT", "/v1/workers/ts-1/capacity", `{"capacity":2}`)
		x.reads("/v1/workers/ts-1", `{"id":"ts-1","state":"active","host":"n1","capacity":2,"status":"idle","running":1,"expires":"30s","free":1}`)
		x.must(204, "DELETE", "/v1/workers/ts-1", "")
		x.must(200, "GET", "/v1/workers/py-2", "")
		x.must(204, "DELETE", "/v1/workers/py-2", "")
		x.must(204, "DELETE", "/v1/workers/py-1", "")
		x.refused("not-found", x.must(404, "GET", "/v1/workers/py-2", ""))
		x.refused("not-found", x.must(404, "GET", "/v1/workers/py-1/status", ""))

		x.reads("/v1/queue", `{"pending":[],"processing":[]}`)
		x.must(200, "PUT", "/v1/queue", `{}`) // this writes nothing
		x.must(200, "PUT", "/v1/queue", `{"pending":["b","a"],"processing":["c"],"fields":{"paused":true}}`)
		x.reads("/v1/queue", `{"pending":["b","a"],"processing":["c"],"fields":{"paused":true}}`)
		x.must(200, "PATCH", "/v1/queue/assignments", `{"w1":["c"],"w2":["x"]}`)
		x.must(200, "PATCH", "/v1/queue/assignments", `{"w2":[]}`)
		x.reads("/v1/queue/assignments", `{"w1":["c"]}`)
		x.must(200, "PATCH", "/v1/queue/metrics", `{"done":3}`)
		x.reads("/v1/queue/metrics", `{"done":3}`)
	})
}

// A progress is a fraction of 1. A number over 1 is a percentage, which also has a field of its
// own.
func TestAProgressIsAPartOfOne(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for body, want := range map[string]string{
			`{"progress":0.25}`: "0.25", `{"progress":1}`: "1", `{"progress":45}`: "0.45", `{"progress":100}`: "1", `{"progress":0}`: "0",
			`{"percent":1}`: "0.01", `{"percent":45}`: "0.45", `{"percent":100}`: "1", `{"percent":0.5}`: "0.005",
		} {
			x.do("PUT", "/v1/tasks/t/progress", body)
			x.reads("/v1/tasks/t/progress", `{"progress":`+want+`}`)
		}
		for _, bad := range []string{`{"progress":101}`, `{"progress":-0.1}`} {
			x.refused("bad-value", x.must(400, "PUT", "/v1/tasks/t/progress", bad), "percent up to 100")
		}
		for _, bad := range []string{`{"percent":101}`, `{"percent":-1}`, `{"percent":1,"progress":1}`, `{}`, `{"progres":1}`} {
			x.refused("bad-request", x.must(400, "PUT", "/v1/tasks/t/progress", bad))
		}
	})
}

// manyWorkers gives a task to each of n workers.
func manyWorkers(n int) string {
	all := make(map[string][]string)
	for i := range n {
		all[fmt.Sprint("w", i)] = []string{"t"}
	}
	body, _ := json.Marshal(all) // maps of strings always encode
	return string(body)
}

func TestRecordsRefuseWhatIsOff(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, c := range []struct {
			code, method, path, body string
			parts                    []string
		}{
			{"bad-key", "PATCH", "/v1/tasks/a%2Fb/state", `{}`, []string{"without '/'"}},
			{"bad-key", "PUT", "/v1/workers/a%2Fb/status", `{}`, []string{"without '/'"}},
			{"bad-key", "POST", "/v1/workers/a%00b/heartbeat", "", []string{"control"}},
			{"bad-value", "PATCH", "/v1/tasks/1/state", `[1]`, []string{"map"}},
			{"bad-value", "PATCH", "/v1/tasks/1/state", `{`, nil},
			{"bad-value", "PATCH", "/v1/queue/metrics", `7`, []string{"map"}},
			{"bad-request", "PATCH", "/v1/tasks/1/state?type=set", `{}`, []string{"type", "ttl"}},
			{"bad-request", "PUT", "/v1/tasks/1/progress", `{"status":"x"}`, []string{"progress"}},
			{"bad-request", "PUT", "/v1/tasks/1/progress", `{"progress":"half"}`, []string{"progress"}},
			{"bad-request", "PUT", "/v1/workers/w/capacity", `4`, []string{"capacity"}},
			{"bad-request", "PUT", "/v1/workers/w/capacity", `{"capacity":-1}`, []string{"0 or more"}},
			{"bad-request", "POST", "/v1/workers/w/heartbeat", `{"ttl":"soon"}`, []string{"30s"}},
			{"bad-request", "POST", "/v1/workers/w/heartbeat", `{"tll":"5s"}`, []string{"tll"}},
			{"bad-request", "GET", "/v1/workers?state=dead", "", []string{"unreachable"}},
			{"bad-request", "GET", "/v1/workers?free=many", "", []string{"free"}},
			{"bad-request", "GET", "/v1/tasks?limit=0", "", []string{"limit"}},
			{"bad-request", "PUT", "/v1/queue", `{"waiting":[]}`, []string{"waiting", "allowed are pending, processing, fields"}},
			{"bad-request", "PUT", "/v1/queue", " null\n", []string{"want an object"}},
			{"bad-value", "PUT", "/v1/queue", `{"pending":[],"processing":[],"fields":{"pending":1}}`, []string{`field "pending"`, "beside"}},
			{"bad-value", "PATCH", "/v1/queue/assignments", manyWorkers(crdt.MaxOps + 1), []string{"at most 1024"}},
			{"method-not-allowed", "PUT", "/v1/tasks/1/state", `{}`, []string{"PATCH"}},
		} {
			x.refused(c.code, x.do(c.method, c.path, c.body), c.parts...)
		}
	})
}

func TestAPeerHasRoomForSoManyWorkers(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		ids := slices.Repeat([]string{"w"}, gossip.MaxWorkers)
		for i := range ids {
			ids[i] += fmt.Sprint(i)
		}
		if err := x.agent.Workers().Heartbeat(t.Context(), ids[1:]...); err != nil { // and the peer's own
			t.Fatal(err)
		}
		x.refused("workers-full", x.must(503, "POST", "/v1/workers/more/heartbeat", ""), "65536")
		x.must(204, "POST", "/v1/workers/w1/heartbeat", "")
	})
}

// The error for a key of another type names that type once, and says how to change it.
func TestAKeyOfAnotherTypeHasAWayOut(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, c := range []struct{ method, path, body, kind string }{
			{"PATCH", "/v1/keys/k", `{"a":1}`, "object"},
			{"POST", "/v1/sets/k", `{"add":[1]}`, "set"},
			{"POST", "/v1/counters/k", `{"max":1}`, "max"},
		} {
			x.must(201, "PUT", "/v1/keys/k", `"text"`)
			got := x.must(409, c.method, c.path, c.body)
			x.refused("wrong-type", got, "a register", "?type="+c.kind, "--type "+c.kind, "--rule")
			if n := strings.Count(got.body, `\"k\"`); n != 1 {
				t.Errorf("the key is named %d times: %s", n, got.body)
			}
			x.must(200, "PUT", "/v1/keys/k?type="+c.kind, map[string]string{"object": "{}", "set": "[]", "max": "0"}[c.kind])
			if got := x.do(c.method, c.path, c.body); got.status >= 300 {
				t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
			}
			x.must(200, "DELETE", "/v1/keys/k", "")
		}
		x.must(201, "PUT", "/v1/keys/k", `"text"`)
		x.refused("wrong-type", x.must(409, "POST", "/v1/counters/k", `{"add":1}`), "delete it first")
		x.must(200, "DELETE", "/v1/keys/k", "")
		x.must(201, "POST", "/v1/counters/k", `{"add":1}`)
	})
}
