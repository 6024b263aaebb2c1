package mcpserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// The keys of work queues are found by a search of their namespace, and not by a search of all.
func TestASearchPassesOverTheRecordsOfQueues(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.good(s, "memory_usage", `{"action":"store","key":"note","value":"needle"}`)
		x.good(s, "task_add", `{"value":"needle"}`)
		x.shows(x.good(s, "memory_search", `{"pattern":"needle"}`), `{"count":1}`)
		if found := x.good(s, "memory_search", `{"pattern":"needle","namespace":"task-sentinel"}`); found["count"].(float64) < 1 {
			t.Errorf("in their namespace there are %v", found)
		}
	})
}

func TestTheGrantOfEachCallCounts(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.good(s, "memory_usage", `{"action":"store","key":"open","value":"text","namespace":"mine"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"secret","value":"text","namespace":"other"}`)
		lease := x.good(s, "lock_acquire", `{"name":"deploy"}`)["lease"].(string)
		reader := &api.Grant{Name: "reader", Rights: []api.Right{{Verb: api.Read, Key: "memory/mine"}}}
		x.as = func() *api.Grant { return reader } // in the same session
		refused := x.bad("forbidden", s, "memory_usage", `{"action":"store","key":"open","value":2,"namespace":"mine"}`)
		if !strings.Contains(refused["error"].(string), `"reader" lacks write:memory/mine/open`) {
			t.Errorf("refused by %v", refused)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"open","namespace":"mine"}`), `{"value":"text"}`)
		x.shows(x.good(s, "memory_search", `{"pattern":"text"}`), `{"count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"secret","namespace":"mine"}`), `{"found":false,"other_namespaces":null}`)
		for tool, arguments := range map[string]string{
			"memory_usage":     `{"action":"retrieve","key":"secret","namespace":"other"}`,
			"memory_watch":     `{"namespace":"other","timeout_s":0}`,
			"task_add":         `{"value":1}`,
			"task_claim":       `{}`,
			"task_progress":    `{"task":"1","progress":1}`,
			"lock_acquire":     `{"name":"deploy","lease":"` + lease + `"}`,
			"lock_release":     `{"name":"deploy","lease":"` + lease + `"}`,
			"agent_coordinate": `{"task":"1","data":{}}`,
		} {
			x.bad("forbidden", s, tool, arguments)
		}
		x.bad("forbidden", s, "memory_usage", `{"action":"list","namespace":"other"}`)
		x.bad("forbidden", s, "memory_usage", `{"action":"delete","key":"open","namespace":"mine"}`)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: keysURI + "memory/other/secret"}); err == nil {
			t.Error("a resource is read without the right")
		}
		status := x.good(s, "cluster_status", `{}`)
		if n := len(status["namespaces"].([]any)); n != 1 {
			t.Errorf("the status names %v", status["namespaces"])
		}
	})
}

func TestASessionBelongsToItsToken(t *testing.T) {
	x := serve(t, nil)
	x.as = func() *api.Grant { return &api.Grant{Name: "a"} }
	s := x.connect("2025-06-18", nil)
	x.as = func() *api.Grant { return &api.Grant{Name: "b"} }
	res, text := x.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Session-Id", s.ID(), "Mcp-Protocol-Version", "2025-06-18")
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("another token acts in the session: %d %s", res.StatusCode, text)
	}
	x.as = func() *api.Grant { return &api.Grant{Name: "a"} }
}

func TestResources(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, _ *mcp.ClientSession) {
		var updates atomic.Int64
		told := make(chan string, 100_000)
		s := x.connect(t.Name()[len(t.Name())-10:], &mcp.ClientOptions{ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) {
			updates.Add(1)
			told <- r.Params.URI
		}})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		read := func(uri string) string {
			t.Helper()
			res, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
			if err != nil {
				t.Fatal(uri, err)
			}
			return res.Contents[0].Text
		}
		list, err := s.ListResources(ctx, nil)
		if err != nil || len(list.Resources) != len(views) {
			t.Fatalf("%v, %v", list, err)
		}
		for _, r := range list.Resources {
			if text := read(r.URI); text == "" {
				t.Errorf("%s is empty", r.URI)
			}
		}
		if err := x.agent.Put(ctx, "memory/default/a b", map[string]any{"n": 1}); err != nil {
			t.Fatal(err)
		}
		for _, uri := range []string{keysURI + "memory/default/a%20b", keysURI + "memory%2Fdefault%2Fa%20b"} {
			if text := read(uri); text != `{"n":1}` {
				t.Errorf("%s is %s", uri, text)
			}
		}
		for _, uri := range []string{keysURI + "memory/none", keysURI + "%zz", keysURI + "..", "sentinel://other"} {
			if _, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri}); err == nil {
				t.Errorf("%s can be read", uri)
			}
		}

		const uri = keysURI + "memory/default/fast"
		if err := s.Subscribe(ctx, &mcp.SubscribeParams{URI: uri}); err != nil {
			t.Fatal(err)
		}
		for first := false; !first; { // the newest client may not be subscribed yet
			if err := x.agent.Put(ctx, "memory/default/fast", time.Now().UnixNano()); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-told:
				if first = true; got != uri {
					t.Errorf("told of %s", got)
				}
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				t.Fatal("nothing is told")
			}
		}
		began := time.Now()
		before := updates.Load()
		writes := 0
		for ; time.Since(began) < 5*interval; writes++ {
			if err := x.agent.Put(ctx, "memory/default/fast", writes); err != nil {
				t.Fatal(err)
			}
		}
		if n, most := updates.Load()-before, int64(time.Since(began)/interval)+3; n > most {
			t.Errorf("%d writes made %d updates; want %d at most", writes, n, most)
		}
	})
}

func TestRawHTTP(t *testing.T) {
	x := serve(t, nil)
	for _, c := range []struct {
		body, holds string
		status      int
		header      []string
	}{
		{`{broken`, "malformed", 400, nil},
		{``, "non-empty", 400, nil},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "visible", 400, []string{"Mcp-Session-Id", "made up"}},
		{`{"jsonrpc":"2.0","id":[],"method":"ping"}`, "an id is", 400, nil},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Mcp-Protocol-Version: \"2020-01-01\" is none of`, 400, []string{"Mcp-Protocol-Version", "2020-01-01"}},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, `"id":null,"error":{"code":-32600,"message":"malformed body: an id is text or a number, not null`, 400, nil},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, `"code":-32600`, 400, []string{"Mcp-Protocol-Version", stateless}},
		{`{broken`, `"code":-32700`, 400, []string{"Mcp-Protocol-Version", stateless}},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "", 415, []string{"Content-Type", "text/plain"}},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, "", 200, nil}, // the answer is an error of the protocol
		{strings.Repeat(" ", maxBody+1), "exceeds", 413, nil},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "", 403, []string{"Origin", "http://evil.example"}},
	} {
		res, text := x.post(c.body, c.header...)
		if res.StatusCode != c.status || !strings.Contains(text, c.holds) {
			t.Errorf("%.60s %v: %d %.200s", c.body, c.header, res.StatusCode, text)
		}
	}
	if n := len(x.server.sessions.all()); n > 0 {
		t.Errorf("%d sessions are left of a client that did not initialize", n)
	}
}

// A stream of updates may last longer than the server's time-out for writes, and ends when the
// server does. TestMain checks that no goroutine is left.
func TestCloseEndsStreamsAndWaits(t *testing.T) {
	for _, version := range versions {
		x := serve(t, nil)
		s := x.connect(version, nil)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Subscribe(ctx, &mcp.SubscribeParams{URI: keysURI + "k"}); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() {
			_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "memory_watch", Arguments: map[string]any{"timeout_s": 25}})
			waited <- err
		}()
		for x.agent.Stats().Subscriptions < 2 { // the resource and the namespace
			time.Sleep(time.Millisecond)
		}
		if err := x.server.Close(ctx); err != nil {
			t.Error("close:", err)
		}
		if err := <-waited; err != nil {
			t.Errorf("%s: a call under way was cut off: %v", version, err)
		}
		if res, _ := x.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("closed, it answers %d", res.StatusCode)
		}
	}
}

// Neither a token nor an address can shut out the others.
func TestSessionsAreBounded(t *testing.T) {
	x := serve(t, nil)
	x.server.most = 20
	const greeting = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`
	begin := func(token, address string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader(greeting))
		r.Header.Set("Content-Type", mediaJSON)
		r.RemoteAddr = address + ":1"
		if token != "" {
			r = r.WithContext(api.WithGrant(r.Context(), &api.Grant{Name: token}))
		}
		x.server.ServeHTTP(w, r)
		return w.Code
	}
	for _, step := range []struct {
		token, address string
		fit            int // sessions
		then           int
	}{
		{"a", "10.0.0.1", 5, http.StatusTooManyRequests},
		{"a", "10.0.0.2", 0, http.StatusTooManyRequests},
		{"", "10.0.0.1", 5, http.StatusTooManyRequests},
		{"b", "10.0.0.2", 5, http.StatusTooManyRequests},
		{"c", "10.0.0.3", 5, http.StatusServiceUnavailable},
	} {
		for range step.fit {
			if got := begin(step.token, step.address); got != http.StatusOK {
				t.Fatalf("%v: %d", step, got)
			}
		}
		if got := begin(step.token, step.address); got != step.then {
			t.Errorf("%v: at last %d", step, got)
		}
	}
	x.server.sessions.all()[0].end()
	if got := begin("d", "10.0.0.4"); got != http.StatusOK {
		t.Errorf("after one ended: %d", got)
	}
}
