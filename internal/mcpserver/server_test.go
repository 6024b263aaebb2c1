package mcpserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// fixture is a peer that serves MCP behind the real HTTP server.
type fixture struct {
	t      *testing.T
	agent  *agent.Agent
	server *Server
	url    string
	as     func() *api.Grant // returns the grant of the caller
	share  string            // the caller whose share counts, if not the address
}

func serve(t *testing.T, tune func(*Config)) *fixture {
	t.Helper()
	a, err := agent.Open(t.Context(), agent.Config{Name: "n1", Cluster: "test", HeartbeatInterval: agent.Manual,
		BatchInterval: agent.AtOnce, Locks: agent.LockConfig{FirstBoot: true}})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg := Config{Agent: a, Leases: api.NewLeases(), Version: "test", Logger: logger}
	if tune != nil {
		tune(&cfg)
	}
	x := &fixture{t: t, agent: a, server: New(cfg), as: func() *api.Grant { return nil }}
	l, err := httpapi.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	mount := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := api.WithCaller(r.Context(), cmp.Or(x.share, api.CallerOf(r.Context())))
		x.server.ServeHTTP(w, r.WithContext(api.WithGrant(ctx, x.as())))
	})
	h := httpapi.Serve(l, httpapi.Config{Agent: a, Leases: cfg.Leases, Logger: logger, Mounts: map[string]http.Handler{"/mcp": mount}})
	x.url = "http://" + l.Addr().String() + "/mcp"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, err := range []error{x.server.Close(ctx), h.Close(ctx), a.Close(ctx)} {
			if err != nil {
				t.Error("close:", err)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return x
}

// connect returns a session of the SDK's client. An empty version is the newest.
func (x *fixture) connect(version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	x.t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "tester", Version: "1"}, opts)
	session, err := c.Connect(x.t.Context(), &mcp.StreamableClientTransport{Endpoint: x.url}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = session.Close() })
	return session
}

// answered is the answer of a tool.
type answered map[string]any

// call calls a tool with arguments given as JSON.
func (x *fixture) call(session *mcp.ClientSession, tool, arguments string) (answered, bool) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(arguments)})
	if err != nil {
		x.t.Fatalf("%s %s: %v", tool, arguments, err)
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if len(text) > maxAnswer {
		x.t.Errorf("%s %.100s: answers %d bytes", tool, arguments, len(text))
	}
	var fromText, structured answered
	raw, _ := json.Marshal(res.StructuredContent)
	for _, part := range []struct {
		raw  []byte
		into *answered
	}{{[]byte(text), &fromText}, {raw, &structured}} {
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			x.t.Fatalf("%s %.100s: answers %.200s: %v", tool, arguments, part.raw, err)
		}
	}
	if a, b := fmt.Sprint(fromText), fmt.Sprint(structured); a != b {
		x.t.Errorf("%s: text and structured content differ:\n%s\n%s", tool, a, b)
	}
	if fromText["success"] != !res.IsError || fromText["timestamp"] == nil {
		x.t.Errorf("%s %.100s: isError %t, but %v", tool, arguments, res.IsError, fromText)
	}
	return fromText, !res.IsError
}

func (x *fixture) good(session *mcp.ClientSession, tool, arguments string) answered {
	x.t.Helper()
	out, ok := x.call(session, tool, arguments)
	if !ok {
		x.t.Fatalf("%s %.200s: %v", tool, arguments, out)
	}
	return out
}

// bad calls a tool that must fail with a code and a hint.
func (x *fixture) bad(code string, session *mcp.ClientSession, tool, arguments string) answered {
	x.t.Helper()
	out, ok := x.call(session, tool, arguments)
	if ok || out["code"] != code || out["hint"] == nil || out["error"] == "" {
		x.t.Errorf("%s %.200s: %v; want code %s and a hint", tool, arguments, out, code)
	}
	return out
}

// shows checks that got has the fields of want, which is given as JSON.
func (x *fixture) shows(got answered, want string) {
	x.t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(want), &fields); err != nil {
		x.t.Fatal(err)
	}
	for name, v := range fields {
		a, _ := json.Marshal(got[name])
		if b, _ := json.Marshal(v); !bytes.Equal(a, b) {
			x.t.Errorf("%s is %s; want %s", name, a, b)
		}
	}
}

// held returns how many leases the daemon holds for agents.
func (x *fixture) held() int {
	x.server.holds.mu.Lock()
	defer x.server.holds.mu.Unlock()
	return len(x.server.holds.by)
}

// soon waits until met returns true, or fails with the text of what is wrong.
func (x *fixture) soon(wrong string, met func() bool) {
	x.t.Helper()
	for end := time.Now().Add(patience); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatal(wrong)
		}
	}
}

// post sends a raw message.
func (x *fixture) post(body string, header ...string) (*http.Response, string) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), "POST", x.url, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return res, string(text)
}
