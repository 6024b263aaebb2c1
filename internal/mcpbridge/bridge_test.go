package mcpbridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// daemon serves MCP at addr until the returned function ends it.
func daemon(t *testing.T, addr string) (at string, stop func()) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := agent.Open(t.Context(), agent.Config{Name: "n1", Cluster: "test", HeartbeatInterval: agent.Manual, BatchInterval: agent.AtOnce})
	if err != nil {
		t.Fatal(err)
	}
	l, err := httpapi.Listen(addr, false)
	if err != nil {
		t.Fatal(err)
	}
	tools := mcpserver.New(mcpserver.Config{Agent: a, Leases: api.NewLeases(), Version: "test", Logger: logger})
	server := httpapi.Serve(l, httpapi.Config{Agent: a, Logger: logger, Mounts: map[string]http.Handler{"/mcp": tools}})
	return l.Addr().String(), func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, err := range []error{tools.Close(ctx), server.Close(ctx), a.Close(ctx)} {
			if err != nil {
				t.Error("close:", err)
			}
		}
	}
}

// talk is a client at the bridge's input and output.
type talk struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan string
	done  chan error
}

func begin(t *testing.T, addr string) *talk {
	t.Helper()
	transport := &http.Transport{}
	return start(t, addr, (&http.Client{Transport: transport}).Do, transport.CloseIdleConnections)
}

func start(t *testing.T, addr string, send func(*http.Request) (*http.Response, error), after func()) *talk {
	t.Helper()
	in, toBridge := io.Pipe()
	fromBridge, out := io.Pipe()
	c := &talk{t, toBridge, make(chan string, 100), make(chan error, 1)}
	go func() {
		err := Run(t.Context(), in, out, Config{URL: "http://" + addr + "/mcp", Send: send,
			Patience: patience, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))})
		_ = out.Close()
		after()
		c.done <- err
	}()
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(fromBridge); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

func (c *talk) send(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talk) next() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatal("the bridge ended")
		}
		if !json.Valid([]byte(line)) {
			c.t.Fatalf("no protocol: %q", line)
		}
		return line
	case <-time.After(patience):
		c.t.Fatal("no line came")
	}
	return ""
}

// gets waits for a line that holds all of the texts.
func (c *talk) gets(texts ...string) string {
	c.t.Helper()
	line := c.next()
	for _, text := range texts {
		if !strings.Contains(line, text) {
			c.t.Errorf("got %.400s; want %s in it", line, text)
		}
	}
	return line
}

func (c *talk) greet() {
	c.t.Helper()
	c.send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`)
	c.gets(`"id":0`, `"protocolVersion":"2025-06-18"`, `"serverInfo"`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// end closes the input and waits for the bridge.
func (c *talk) end() {
	c.t.Helper()
	_ = c.in.Close()
	select {
	case err := <-c.done:
		if err != nil {
			c.t.Error(err)
		}
	case <-time.After(patience):
		c.t.Fatal("the bridge does not end")
	}
}

func usage(id int, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"memory_usage","arguments":%s}}`, id, arguments)
}

func TestRawConversation(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	defer stop()
	c := begin(t, addr)
	c.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
	c.gets(`"id":9`, `"result":{}`) // before it greets
	c.greet()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	c.gets(`"id":1`, `"result":{}`)
	c.send(`{not json`)
	c.gets(`"id":null`, `-32700`)
	c.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`)
	c.gets(`"id":null`, `-32600`, `batches`)
	c.send(`"text"`)
	c.gets(`"id":null`, `-32600`)
	c.send(strings.Repeat("x", maxLine+1))
	c.gets(`"id":null`, `the line has over`)
	c.send("\n  ")
	c.send(`{"jsonrpc":"2.0","id":"two","method":"no/such"}`)
	c.gets(`"id":"two"`, `-32601`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/no-such"}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}`)
	c.send(`{"jsonrpc":"2.0","id":5,"result":{}}`) // to nothing that was asked
	c.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"no_such","arguments":{}}}`)
	c.gets(`"id":3`, `"error"`, `no_such`)
	c.send(`{"jsonrpc":"2.0","id":4,"method":"tools/list"}`)
	c.gets(`"id":4`, `"memory_usage"`, `"cluster_status"`)
	c.send(usage(5, `{"action":"store","key":"k","value":"é\u0000\u2028 <b> \"q\" \\"}`))
	c.gets(`"id":5`, `\"stored\":true`)
	c.send(usage(6, `{"action":"store","key":"k","value":"line\nbreak"}`))
	c.gets(`"id":6`, `\"stored\":true`)
	c.send(usage(7, `{"action":"retrieve","key":"k"}`))
	c.gets(`"id":7`, `line\\nbreak`)
	c.send(`{"jsonrpc":"2.0","id":8,"method":"resources/read","params":{"uri":"sentinel://keys/memory/default/nothing"}}`)
	c.gets(`"id":8`, `"error"`)
	c.end()
}

// The input may end before the answers come. Long calls are then given up: a client that waited for
// a lock is gone, and does not get it.
func TestAnswersCameThoughTheInputEnded(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	defer stop()
	c := begin(t, addr)
	c.greet()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"memory_watch","arguments":{"timeout_s":0.5}}}`)
	_ = c.in.Close()
	c.gets(`"id":1`, `\"events\":[]`)
	c.end()
}

func TestWhoEndsTheInputWaitsForNothing(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	defer stop()
	acquire := func(c *talk, wait string) {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"lock_acquire","arguments":{"name":"l","wait_s":` + wait + `}}}`)
	}
	transport := &http.Transport{}
	var deleted atomic.Bool
	first := start(t, addr, func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodDelete {
			deleted.Store(true)
		}
		return transport.RoundTrip(r)
	}, transport.CloseIdleConnections)
	second, third := begin(t, addr), begin(t, addr)
	for _, c := range []*talk{first, second, third} {
		c.greet()
	}
	acquire(first, "0")
	first.gets(`\"acquired\":true`)
	acquire(second, "25")
	second.end() // does not wait until its call ends
	second.gets(`"id":1`, `the bridge is stopping`)
	first.end() // gives back its lock
	if !deleted.Load() {
		t.Error("the session is not ended; it is, once the daemon takes its client for lost")
	}
	acquire(third, "25")
	third.gets(`\"acquired\":true`)
	third.end()
}

func TestADaemonThatRestarts(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	c := begin(t, addr)
	c.greet()
	const uri = "sentinel://keys/memory/default/k"
	c.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"` + uri + `"}}`)
	c.gets(`"id":1`, `"result"`)
	c.send(usage(2, `{"action":"store","key":"k","value":1}`))
	for range 2 { // the two lines come in either order
		if line := c.next(); !strings.Contains(line, `"id":2`) && !strings.Contains(line, `notifications/resources/updated`) {
			t.Errorf("got %s", line)
		}
	}
	for _, method := range []string{"unsubscribe", "subscribe"} { // all subscriptions share one stream
		c.send(`{"jsonrpc":"2.0","id":2,"method":"resources/` + method + `","params":{"uri":"` + uri + `"}}`)
		c.gets(`"id":2`, `"result"`)
	}
	stop()
	c.send(usage(3, `{"action":"retrieve","key":"k"}`))
	c.gets(`"id":3`, `"isError":true`, `unreachable`, `try again`)
	c.send(`{"jsonrpc":"2.0","id":4,"method":"tools/list"}`)
	c.gets(`"id":4`, `-32000`) // there was no daemon, or it broke off

	_, stop = daemon(t, addr)
	defer stop()
	c.gets(`notifications/resources/updated`, uri) // anything may have changed in the meantime
	c.gets(`notifications/resources/list_changed`)
	c.send(usage(5, `{"action":"store","key":"k","value":2}`))
	seen := map[bool]bool{}
	for range 2 {
		seen[strings.Contains(c.next(), `notifications/resources/updated`)] = true
	}
	if !seen[true] || !seen[false] {
		t.Error("the subscription was lost")
	}
	c.end()
}

// A client that starts before the daemon waits for it.
func TestADaemonThatComesLater(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	stop()
	c := begin(t, addr)
	c.send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`)
	_, stop = daemon(t, addr)
	defer stop()
	c.gets(`"id":0`, `"serverInfo"`)
	c.end()
}

// In the protocol without sessions, each request names its version, and a subscription is a
// request.
func TestWithoutSessions(t *testing.T) {
	addr, stop := daemon(t, "127.0.0.1:0")
	defer stop()
	c := begin(t, addr)
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"raw","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	c.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta + `}}`)
	c.gets(`"id":1`, `2026-07-28`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{` + meta + `,"notifications":{"resourceSubscriptions":["sentinel://keys/memory/default/%C3%A4%20k"]}}}`)
	c.gets(`acknowledged`)
	c.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{` + meta + `,"name":"memory_usage","arguments":{"action":"store","key":"ä k","value":1}}}`)
	seen := map[bool]bool{}
	for range 2 {
		seen[strings.Contains(c.next(), `notifications/resources/updated`)] = true
	}
	if !seen[true] || !seen[false] {
		t.Error("want an answer and an update")
	}
	c.send(`{"jsonrpc":"2.0","id":4,"method":"resources/read","params":{` + meta + `,"uri":"sentinel://keys/memory/default/%C3%A4%20k"}}`)
	c.gets(`"id":4`, `"text":"1"`)
	c.send(`{"jsonrpc":"2.0","id":5,"method":"no/such","params":{` + meta + `}}`)
	c.gets(`"id":5`, `-32601`)
	c.end()
}
