package mcpserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// plainMeta is the _meta of each request of the protocol without sessions.
const plainMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"raw","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

const greeting = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"7"}}}`

// greet begins a session of a raw client, and returns its id.
func (x *fixture) greet() string {
	x.t.Helper()
	res, text := x.post(greeting)
	id := res.Header.Get(headerSession)
	if res.StatusCode != http.StatusOK || id == "" {
		x.t.Fatalf("greeted with %d %s", res.StatusCode, text)
	}
	x.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, headerSession, id)
	return id
}

func toolCall(id, tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, tool, arguments)
}

// raw calls a tool and returns its answer.
func (x *fixture) raw(session, tool, arguments string) answered {
	x.t.Helper()
	_, text := x.post(toolCall("1", tool, arguments), headerSession, session)
	var res struct {
		Result struct{ StructuredContent answered }
	}
	if err := json.Unmarshal([]byte(text), &res); err != nil {
		x.t.Fatalf("%s %s: %s", tool, arguments, text)
	}
	return res.Result.StructuredContent
}

var oddIDs = []string{`0`, `-1`, `1.5`, `-0.25`, `1e2`, `9007199254740991`, `9007199254740992`, `9007199254740993`, `-9007199254740993`,
	`9223372036854775808`, `123456789012345678901234567890`, `""`, `"1"`, `"é\u00e9\""`}

func TestIDsComeBackAsTheyWere(t *testing.T) {
	x := serve(t, nil)
	session := x.greet()
	for _, id := range oddIDs {
		for name, header := range map[string][]string{
			"in a session": {headerSession, session},
			"without":      nil,
			"as an event":  {headerSession, session, "Accept", mediaEvents},
		} {
			res, text := x.post(`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/list"}`, header...)
			if res.StatusCode != http.StatusOK || !strings.Contains(text, `"id":`+id+`,`) || !strings.Contains(text, `"cluster_status"`) {
				t.Errorf("%s, %s: %d %.200s", name, id, res.StatusCode, text)
			}
		}
		for _, accept := range []string{mediaJSON, mediaEvents} {
			res, text := x.post(`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/list","params":{`+plainMeta+`}}`, headerProtocol, stateless, "Mcp-Method", "tools/list", "Accept", accept)
			if res.StatusCode != http.StatusOK || !strings.Contains(text, `"id":`+id+`,`) || !strings.HasPrefix(res.Header.Get("Content-Type"), accept) {
				t.Errorf("without sessions, %s: %d %.200s", id, res.StatusCode, text)
			}
		}
		res, text := x.post(`[{"jsonrpc":"2.0","id":`+id+`,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":"b","method":"ping"}]`, headerSession, session)
		if want := `[{"id":` + id + `,"jsonrpc":"2.0","result":{}},{"id":"b","jsonrpc":"2.0","result":{}}]`; text != want {
			t.Errorf("in a batch, %s: %d %s", id, res.StatusCode, text)
		}
	}
}

// Two ids that are equal as floating-point numbers stay different, also when one is cancelled.
func TestNeighboursAreTwoCalls(t *testing.T) {
	x := serve(t, nil)
	session := x.greet()
	const cancelled, other = "9007199254740993", "9007199254740992"
	answers := map[string]string{}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for _, id := range []string{cancelled, other} {
		calls.Go(func() {
			_, text := x.post(toolCall(id, "memory_watch", `{"timeout_s":25}`), headerSession, session)
			mu.Lock()
			defer mu.Unlock()
			answers[id] = text
		})
	}
	x.soon("they do not wait", func() bool { return x.agent.Stats().Subscriptions == 2 })
	x.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+cancelled+`}}`, headerSession, session)
	x.soon("one of them goes on", func() bool { return x.agent.Stats().Subscriptions == 1 })
	if err := x.agent.Put(t.Context(), "memory/default/k", 1); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if !strings.Contains(answers[other], `"id":`+other) || !strings.Contains(answers[other], `"count":1`) {
		t.Errorf("the other was answered %s", answers[other])
	}
	if strings.Contains(answers[cancelled], `"count":1`) {
		t.Errorf("the cancelled one was answered %s", answers[cancelled])
	}
}

func TestAcceptIsReadLiberally(t *testing.T) {
	x := serve(t, nil)
	for accept, media := range map[string]string{
		mediaJSON: mediaJSON, mediaEvents: mediaEvents, "*/*": mediaJSON, "": mediaJSON,
		"application/*": mediaJSON, "text/html": mediaJSON, "text/event-stream, application/json;q=0.1": mediaJSON,
	} {
		res, text := x.post(greeting, "Accept", accept)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != media || !strings.Contains(text, `"serverInfo"`) {
			t.Errorf("Accept %q: %d %s %.100s", accept, res.StatusCode, res.Header.Get("Content-Type"), text)
		}
		if strings.HasPrefix(text, "event: message\ndata: {") != (media == mediaEvents) {
			t.Errorf("Accept %q: %.100s", accept, text)
		}
	}
}

// A session outlives the daemon that began it: its calls still have its client as their author.
func TestASessionIsMadeAnew(t *testing.T) {
	session := serve(t, nil).greet()
	x := serve(t, nil)
	for _, id := range []string{session, "of-another-kind"} {
		if out := x.raw(id, "memory_usage", `{"action":"store","key":"k","value":1}`); out["stored"] != true {
			t.Errorf("session %q: %v", id, out)
		}
		list := x.raw(id, "memory_usage", `{"action":"list"}`)
		by := list["entries"].([]any)[0].(map[string]any)["metadata"].(map[string]any)["claimed_client"]
		if want := map[bool]string{true: "raw 7", false: "unknown"}[id == session]; by != want {
			t.Errorf("session %q: it was stored by %v", id, by)
		}
	}
	lines, _ := x.listen(session)
	for _, want := range []string{": beat", "", "event: message", `data: {"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`} {
		if line := <-lines; line != want {
			t.Errorf("the stream says %q; want %q", line, want)
		}
	}
	x.post(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"sentinel://keys/memory/default/k"}}`, headerSession, session)
	x.raw(session, "memory_usage", `{"action":"store","key":"k","value":2}`)
	for line := range lines {
		if strings.Contains(line, "notifications/resources/updated") {
			return
		}
	}
	t.Error("the stream ended")
}

// listen opens the stream of a session; it returns its lines and a function that ends it.
func (x *fixture) listen(session string) (lines <-chan string, hangUp func()) {
	x.t.Helper()
	ctx, hangUp := context.WithCancel(x.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", x.url, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set(headerSession, session)
	req.Header.Set("Accept", mediaEvents)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("X-Accel-Buffering") != "no" {
		x.t.Fatalf("the stream: %d %v", res.StatusCode, res.Header)
	}
	out := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		defer res.Body.Close()
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			out <- s.Text()
		}
	}()
	x.t.Cleanup(func() { hangUp(); <-done })
	return out, hangUp
}

// A client that goes while it waits gets neither a lock nor a task.
func TestAClientThatGoesAsItWaits(t *testing.T) {
	for name, header := range map[string]func(x *fixture) []string{
		"in a session": func(x *fixture) []string { return []string{headerSession, x.greet()} },
		"without":      func(*fixture) []string { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			x := serve(t, nil)
			waits := func(tool, arguments string, waiting func() bool) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, "POST", x.url, strings.NewReader(toolCall("1", tool, arguments)))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", mediaJSON)
				for list := header(x); len(list) > 0; list = list[2:] {
					req.Header.Set(list[0], list[1])
				}
				gone := make(chan error, 1)
				go func() {
					res, err := http.DefaultClient.Do(req)
					if err == nil {
						_ = res.Body.Close()
					}
					gone <- err
				}()
				x.soon("it does not wait", waiting)
				cancel()
				if err := <-gone; err == nil {
					t.Error("the client was answered")
				}
				x.soon("it still waits", func() bool { return !waiting() })
			}
			first := x.greet()
			held := x.raw(first, "lock_acquire", `{"name":"l"}`)
			waits("lock_acquire", `{"name":"l","wait_s":25}`, func() bool {
				info, err := x.agent.Locks().Inspect(t.Context(), "l")
				return err == nil && info.Waiting > 0
			})
			x.raw(first, "lock_release", `{"name":"l","lease":"`+held["lease"].(string)+`"}`)
			if out := x.raw(first, "lock_acquire", `{"name":"l","wait_s":25}`); out["acquired"] != true {
				t.Errorf("the lock: %v", out)
			}
			waits("task_claim", `{"wait_s":25}`, func() bool { return strings.Contains(stacks(), "workqueue.Queue.wait(") })
			x.raw(first, "task_add", `{"value":1}`)
			if out := x.raw(first, "task_claim", `{"wait_s":25}`); out["claimed"] != true || out["attempt"] != 1.0 {
				t.Errorf("the task: %v", out)
			}
		})
	}
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	buf := make([]byte, 1<<22)
	return string(buf[:runtime.Stack(buf, true)])
}

// What is held for a client ends with its session and with its token, but outlives the daemon.
func TestWhatASessionHolds(t *testing.T) {
	ends := map[string]func(x *fixture, session string){
		"it is deleted": func(x *fixture, session string) {
			req, _ := http.NewRequestWithContext(x.t.Context(), "DELETE", x.url, nil)
			req.Header.Set(headerSession, session)
			res, err := http.DefaultClient.Do(req)
			if err != nil || res.StatusCode != http.StatusNoContent {
				x.t.Fatal(res, err)
			}
			_ = res.Body.Close()
		},
		"its stream breaks": func(x *fixture, session string) {
			x.server.grace = time.Millisecond
			_, hangUp := x.listen(session)
			hangUp()
		},
	}
	for why, end := range ends {
		t.Run(why, func(t *testing.T) {
			x := serve(t, nil)
			session, other := x.greet(), x.greet()
			x.raw(session, "lock_acquire", `{"name":"l","hold_s":3600}`)
			moved := x.raw(session, "lock_acquire", `{"name":"m","hold_s":3600}`)
			x.raw(other, "lock_acquire", `{"name":"m","lease":"`+moved["lease"].(string)+`"}`) // from now on the lease is the other session's
			x.raw(other, "task_add", `{"value":1}`)
			x.raw(session, "task_claim", `{"hold_s":3600}`)
			end(x, session)
			if out := x.raw(other, "lock_acquire", `{"name":"l","wait_s":25}`); out["acquired"] != true {
				t.Errorf("the lock: %v", out)
			}
			if out := x.raw(other, "task_claim", `{"wait_s":25}`); out["claimed"] != true || out["attempt"] != 2.0 {
				t.Errorf("the task: %v", out)
			}
			if out := x.raw(other, "lock_acquire", `{"name":"m"}`); out["code"] != "held" {
				t.Errorf("what another session renews: %v", out)
			}
		})
	}
	t.Run("its token is withdrawn", func(t *testing.T) {
		x := serve(t, nil)
		withdrawn := make(chan struct{})
		x.as = func() *api.Grant {
			return &api.Grant{Name: "ci", Rights: []api.Right{{Verb: api.Lock, Key: "l"}}, Withdrawn: withdrawn}
		}
		x.raw("", "lock_acquire", `{"name":"l","hold_s":3600}`) // a call without a session holds a lease too
		session := x.greet()
		x.as = func() *api.Grant { return nil }
		close(withdrawn)
		if out := x.raw("", "lock_acquire", `{"name":"l","wait_s":25}`); out["acquired"] != true {
			t.Errorf("the lock: %v", out)
		}
		x.soon("its session goes on", func() bool {
			x.server.sessions.mu.Lock()
			defer x.server.sessions.mu.Unlock()
			return x.server.sessions.by[session] == nil
		})
	})
	t.Run("the daemon stops", func(t *testing.T) {
		x := serve(t, nil)
		x.raw(x.greet(), "lock_acquire", `{"name":"l","hold_s":3600}`)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := x.server.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if info, err := x.agent.Locks().Inspect(ctx, "l"); err != nil || len(info.Holders) != 1 {
			t.Errorf("%+v, %v; want it held until its lease ends", info, err)
		}
	})
}

// A stream sends heartbeats, with a session or without, since proxies end one that is silent for a
// minute.
func TestAQuietStreamHasAPulse(t *testing.T) {
	listen := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{` + plainMeta + `,"notifications":{"resourcesListChanged":true}}}`
	for name, request := range map[string]string{
		"in a session": "GET /mcp HTTP/1.1\r\nHost: x\r\nMcp-Session-Id: s\r\n\r\n",
		"without": "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nMcp-Protocol-Version: " + stateless +
			fmt.Sprintf("\r\nMcp-Method: subscriptions/listen\r\nContent-Length: %d\r\n\r\n%s", len(listen), listen),
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { pulses(t, request) }) })
	}
}

// pulses sends a request for a stream, and counts its heartbeats while nothing happens.
func pulses(t *testing.T, request string) {
	s := New(Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test"})
	ours, theirs := net.Pipe()
	l := &one{make(chan net.Conn, 1), make(chan struct{})}
	l.conn <- theirs
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(l) }()
	if _, err := io.WriteString(ours, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("X-Accel-Buffering"); got != "no" { // whatever Accept header the client sends
		t.Errorf("nginx would keep it all: %q", got)
	}
	var began time.Time
	for beats, lines := 0, bufio.NewScanner(res.Body); beats < 100 && lines.Scan(); {
		if lines.Text() == strings.TrimSpace(pulse) {
			if beats++; beats == 1 {
				began = time.Now()
			}
		}
	}
	if took := time.Since(began); took != 99*heartbeat {
		t.Errorf("100 beats took %v", took)
	}
	_ = ours.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_ = server.Close()
}
