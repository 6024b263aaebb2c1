package httpapi

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// described returns the OpenAPI document, changed so that objects have only the fields it names.
var described = sync.OnceValues(func() (*openapi3.T, error) {
	var raw map[string]any
	if err := json.Unmarshal(api.OpenAPI(), &raw); err != nil {
		return nil, err
	}
	for _, s := range raw["components"].(map[string]any)["schemas"].(map[string]any) {
		if o := s.(map[string]any); o["properties"] != nil {
			o["additionalProperties"] = false
		}
	}
	strict, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(strict)
})

// conform checks an answer against the document, and also the request if the answer is a good one.
func conform(t *testing.T, req *http.Request, sent string, got answer) {
	t.Helper()
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	op := documented(doc, req)
	if op == nil {
		return
	}
	res := op.Responses.Status(got.status)
	switch {
	case res == nil && got.status >= 400:
		res = op.Responses.Default()
	case res == nil:
		t.Errorf("%s: status %d is not described", op.OperationID, got.status)
		return
	}
	if len(res.Value.Content) == 0 && got.body != "" {
		t.Errorf("%s: %d has a body: %s", op.OperationID, got.status, got.body)
	}
	if req.Method != http.MethodHead && got.status != http.StatusNotModified {
		fits(t, op.OperationID, res.Value.Content, got.header.Get("Content-Type"), got.body)
	}
	if body := op.RequestBody; got.status < 300 && sent != "" && body != nil {
		fits(t, op.OperationID+" takes", body.Value.Content, "application/json", sent)
	}
}

// documented returns the operation of a request.
func documented(doc *openapi3.T, req *http.Request) *openapi3.Operation {
	mux, ops := http.NewServeMux(), map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			pattern := method + " " + strings.ReplaceAll(path, "{key}", "{key...}")
			ops[pattern] = op
			mux.Handle(pattern, http.NotFoundHandler())
		}
	}
	_, pattern := mux.Handler(req)
	return ops[pattern]
}

func fits(t *testing.T, what string, content openapi3.Content, mimeType, text string) {
	t.Helper()
	if len(content) == 0 {
		return
	}
	mimeType, _, _ = mime.ParseMediaType(mimeType)
	c := content[mimeType]
	if c == nil {
		t.Errorf("%s: %q is not described", what, mimeType)
		return
	}
	if !strings.HasSuffix(mimeType, "json") {
		return
	}
	matches(t, what, c.Schema.Value, text)
}

// fitsStream checks the data of an event against the document.
func fitsStream(t *testing.T, data string) {
	t.Helper()
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	stream := doc.Paths.Value("/v1/watch").Get.Responses.Status(http.StatusOK).Value.Content[eventStream]
	matches(t, "watch", stream.Schema.Value, data)
}

func matches(t *testing.T, what string, schema *openapi3.Schema, text string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%s: %v: %s", what, err, text)
		return
	}
	if err := schema.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s: %s does not fit: %v", what, text, err)
	}
}

// The document has exactly the routes that are served.
func TestTheDocumentHasEveryRoute(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Metrics = http.NotFoundHandler() }, func(x *fixture) {
		got := x.must(200, "GET", "/v1/openapi.json", "")
		doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{"login": true, "logout": true, "other": true} // routes for browsers, and unknown routes
		for _, item := range doc.Paths.Map() {
			for _, op := range item.Operations() {
				ids[op.OperationID] = true
			}
		}
		for name := range x.server.Stats().Requests {
			if !ids[name] {
				t.Errorf("%s is served but not described", name)
			}
			delete(ids, name)
		}
		if len(ids) > 0 {
			t.Errorf("described but not served: %v", ids)
		}
	})
}

// This test calls every operation; conform checks each answer against the document.
func TestEveryOperationAnswersAsDescribed(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Metrics = http.NotFoundHandler() }, func(x *fixture) {
		met := map[string]bool{}
		ask := func(op, method, path, body string) answer {
			t.Helper()
			got := x.do(method, path, body)
			if got.status >= 300 {
				t.Errorf("%s: %d %s", op, got.status, got.body)
			}
			met[op] = true
			return got
		}
		field := func(a answer, name string) string {
			var m map[string]any
			if err := json.Unmarshal([]byte(a.body), &m); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(m[name])
		}
		ask("kv_put", "PUT", "/v1/keys/a%2Fb?ttl=1h&type=register&replicas=0", `{"x":[1,null,"s"]}`)
		ask("kv_put", "PUT", "/v1/keys/a%2Fb", `1`)
		ask("kv_get", "GET", "/v1/keys/a%2Fb", "")
		ask("kv_alternatives", "GET", "/v1/alternatives/a%2Fb", "")
		ask("deadline_set", "PUT", "/v1/deadlines/a%2Fb?ttl=1h", "")
		ask("deadline_get", "GET", "/v1/deadlines/a%2Fb", "")
		ask("deadline_delete", "DELETE", "/v1/deadlines/a%2Fb", "")
		ask("kv_patch", "PATCH", "/v1/keys/o", `{"f":1}`)
		ask("kv_list", "GET", "/v1/keys?values=true&limit=1", "")
		ask("set_update", "POST", "/v1/sets/s", `{"add":["a"]}`)
		ask("set_update", "POST", "/v1/sets/s", `{"remove":["a"]}`)
		ask("counter_add", "POST", "/v1/counters/c", `{"add":1}`)
		ask("batch", "POST", "/v1/batch", `{"operations":[{"op":"put","key":"x","value":1},{"op":"delete","key":"x"}]}`)
		ask("flush", "POST", "/v1/flush", `{"replicas":0,"timeout":"1s"}`)
		ask("kv_delete", "DELETE", "/v1/keys/o", "")
		ask("task_set_state", "PATCH", "/v1/tasks/1/state", `{"s":1}`)
		ask("task_state", "GET", "/v1/tasks/1/state", "")
		ask("task_set_progress", "PUT", "/v1/tasks/1/progress", `{"progress":0.5,"status":"half"}`)
		ask("task_progress", "GET", "/v1/tasks/1/progress", "")
		ask("agent_coordinate", "PATCH", "/v1/agents/1/me", `{"role":"r","needs":["n"],"output":{"o":1}}`)
		ask("agent_get", "GET", "/v1/agents/1/me", "")
		ask("agent_list", "GET", "/v1/agents/1", "")
		ask("task_get", "GET", "/v1/tasks/1", "")
		ask("task_list", "GET", "/v1/tasks", "")
		ask("task_delete", "DELETE", "/v1/tasks/1", "")
		ask("worker_set_status", "PUT", "/v1/workers/w/status", `{"status":"busy","labels":["gpu"]}`)
		ask("worker_status", "GET", "/v1/workers/w/status", "")
		ask("worker_set_capacity", "PUT", "/v1/workers/w/capacity", `{"capacity":4}`)
		ask("worker_heartbeat", "POST", "/v1/workers/w/heartbeat", `{"ttl":"10s"}`)
		ask("worker_get", "GET", "/v1/workers/w", "")
		ask("worker_list", "GET", "/v1/workers?state=active&label=gpu&free=1", "")
		ask("worker_delete", "DELETE", "/v1/workers/w", "")
		ask("queue_set", "PUT", "/v1/queue", `{"pending":["a"],"processing":["b"],"fields":{"f":1}}`)
		ask("queue_get", "GET", "/v1/queue", "")
		ask("assignments_set", "PATCH", "/v1/queue/assignments", `{"w":["a"]}`)
		ask("assignments_get", "GET", "/v1/queue/assignments", "")
		ask("metrics_set", "PATCH", "/v1/queue/metrics", `{"m":1}`)
		ask("metrics_get", "GET", "/v1/queue/metrics", "")
		lease := field(ask("lock_acquire", "POST", "/v1/locks/l", `{"ttl":"10s","wait":"1s"}`), "lease")
		ask("lock_renew", "PUT", "/v1/locks/l", fmt.Sprintf(`{"lease":%q}`, lease))
		ask("lock_inspect", "GET", "/v1/locks/l", "")
		ask("lock_list", "GET", "/v1/locks", "")
		ask("lock_release", "DELETE", "/v1/locks/l?lease="+lease, "")
		for _, id := range []string{"done", "failed"} {
			ask("work_enqueue", "POST", "/v1/queues/q/items", fmt.Sprintf(`{"value":1,"id":%q,"max_attempts":1}`, id))
		}
		ask("work_enqueue", "POST", "/v1/queues/q/items", `{"value":1,"id":"done"}`)
		ask("work_peek", "GET", "/v1/queues/q/items", "")
		verdict := map[string]string{}
		var claims api.List[api.Claimed]
		if err := json.Unmarshal([]byte(ask("work_claim", "POST", "/v1/queues/q/claim", `{"max":2}`).body), &claims); err != nil || len(claims.Items) != 2 {
			t.Fatal(claims, err)
		}
		for _, c := range claims.Items {
			verdict[c.ID] = fmt.Sprintf(`{"lease":%q,"token":%d`, c.Lease, c.Token)
		}
		ask("work_extend", "POST", "/v1/queues/q/items/done/extend", verdict["done"]+"}")
		ask("work_complete", "POST", "/v1/queues/q/items/done/complete", verdict["done"]+`,"result":{"r":1}}`)
		ask("work_fail", "POST", "/v1/queues/q/items/failed/fail", verdict["failed"]+`,"error":"e","retry":"never"}`)
		ask("work_item", "GET", "/v1/queues/q/items/done", "")
		ask("work_item", "GET", "/v1/queues/q/items/failed", "")
		ask("work_requeue", "POST", "/v1/queues/q/requeue", `{"ids":["failed"]}`)
		ask("work_pause", "POST", "/v1/queues/q/pause", "")
		ask("work_resume", "POST", "/v1/queues/q/resume", "")
		ask("work_drain", "POST", "/v1/queues/q/drain", "")
		ask("work_depth", "GET", "/v1/queues/q", "")
		ask("work_queues", "GET", "/v1/queues", "")
		ask("work_purge", "DELETE", "/v1/queues/q?state=done&state=dead", "")
		ask("verdict", "GET", "/v1/verdict", "")
		ask("members", "GET", "/v1/members", "")
		ask("stats", "GET", "/v1/stats", "")
		ask("digest", "GET", "/v1/digest", "")
		ask("conflicts", "GET", "/v1/conflicts", "")
		for _, op := range api.Operations {
			if alone := op.Name == "watch" || op.Name == "forget"; !met[op.Name] && !alone { // they are met in other tests
				t.Errorf("%s was not asked", op.Name)
			}
		}
	})
}
