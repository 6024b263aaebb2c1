package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/status"
	"github.com/sentinel-peer/sentinel-peer/internal/dashboard"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpserver"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// pipes is a listener whose connections are in-memory pipes, so that time can be virtual.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7700} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// house is three peers, all of them voters, and a client of the first one's daemon.
type house struct {
	*testing.T
	net   *memnet.Network
	peers []*agent.Agent
	client.Client
}

func housing(t *testing.T, f func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last, for memberlist's last timers
		h := &house{T: t, net: memnet.New(1)}
		for i := range 3 {
			h.peers = append(h.peers, h.open(i, true))
		}
		time.Sleep(10 * time.Second)
		leases, quiet, p := api.NewLeases(), slog.New(slog.DiscardHandler), &pipes{make(chan net.Conn), make(chan struct{})}
		tools := mcpserver.New(mcpserver.Config{Agent: h.peers[0], Leases: leases, Logger: quiet})
		ui := dashboard.New(t.Context(), dashboard.Config{Agent: h.peers[0], Leases: leases})
		server := httpapi.Serve(p, httpapi.Config{Agent: h.peers[0], Leases: leases, Logger: quiet, Mounts: map[string]http.Handler{"/mcp": tools, "/": ui}})
		h.Client = client.Client{Addr: "127.0.0.1:7700", Timeout: 10 * time.Second, Output: "json", Web: &http.Client{Transport: &http.Transport{DialContext: p.dial, DisableKeepAlives: true}}}
		f(h)
		ctx := context.WithoutCancel(t.Context())
		if err := tools.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func (h *house) open(i int, first bool) *agent.Agent {
	h.Helper()
	l, err := h.net.Listen(h.addr(i))
	if err != nil {
		h.Fatal(err)
	}
	a, err := agent.Open(h.Context(), agent.Config{Name: fmt.Sprintf("n%d", i+1), Cluster: "test", Bind: h.addr(i), Network: l, Seeds: []string{h.addr(0)},
		Keys: [][]byte{make([]byte, 32)}, BatchInterval: agent.AtOnce, Locks: agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, FirstBoot: first}})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { a.Close(context.WithoutCancel(h.Context())) })
	return a
}

func (h *house) addr(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

// asks returns the body of an answer of any status.
func (h *house) asks(method, path, body string, header ...string) string {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), method, "http://127.0.0.1:7700"+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.Web.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return string(answer)
}

// line returns a verdict in short: its level, then level and check of each finding.
func line(v verdict.Verdict) string {
	s := string(v.Level)
	for _, f := range v.Findings {
		s += fmt.Sprintf(" %s/%s", f.Level, f.Check)
	}
	return s
}

// statusDoor asks as the status command does.
func (h *house) statusDoor() (string, int) {
	h.Helper()
	l, err := status.LookAt(h.Context(), &h.Client)
	if err != nil {
		h.Fatal(err)
	}
	code := 0
	if !l.Healthy {
		code = api.ExitUnhealthy
	}
	return line(l.Verdict), code
}

// doctorDoor asks as the doctor command does, and reads its rows.
func (h *house) doctorDoor() (string, int) {
	h.Helper()
	d := doctor{Client: h.Client}
	d.Out = io.Discard
	d.meet(h.Context())
	d.findings = nil // the rows about this machine
	d.fleet(h.Context())
	s := d.findings[0].Verdict
	for _, f := range d.findings[1:] {
		s += " " + f.Verdict + "/" + f.Check
	}
	code := 0
	if d.report() != nil {
		code = api.ExitUnhealthy
	}
	return s, code
}

// toolDoor asks as an agent does by MCP.
func (h *house) toolDoor() string {
	h.Helper()
	answer := h.asks("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"cluster_status","arguments":{},
		"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "cluster_status")
	var got struct {
		Result struct{ StructuredContent verdict.Verdict }
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		h.Fatalf("%v: %s", err, answer)
	}
	if got.Result.StructuredContent.Level == "" {
		h.Fatalf("no level: %s", answer)
	}
	return line(got.Result.StructuredContent)
}

var (
	readLine = regexp.MustCompile(`(?m)^(ok|warn|fail) (.+)$`)
	headline = regexp.MustCompile(`<p id="verdict"[^>]*><span class="level (\w+)">(\w+)</span> (.*)</p>`)
)

// readyDoor asks as an orchestrator does.
func (h *house) readyDoor() string {
	h.Helper()
	body := h.asks("GET", "/readyz", "")
	_, rest, ok := strings.Cut(body, "ready\nverdict: ")
	if !ok {
		h.Errorf("/readyz: %s", body)
	}
	level, rest, _ := strings.Cut(rest, "\n")
	for _, m := range readLine.FindAllStringSubmatch(rest, -1) {
		level += " " + m[1] + "/" + m[2]
	}
	return level
}

// Every interface gives the same verdict on the cluster.
func TestEveryDoorTellsTheSameVerdict(t *testing.T) {
	housing(t, func(h *house) {
		ctx, a := h.Context(), h.peers[0]
		all := func(what, want string) {
			h.Helper()
			synctest.Wait()
			var v verdict.Verdict
			if err := h.Do(ctx, "GET", "/v1/verdict", nil, nil, nil, &v); err != nil || line(v) != want {
				h.Fatalf("%s: %q, %v, want %q", what, line(v), err, want)
			}
			code := 0
			if v.Level == verdict.Fail {
				code = api.ExitUnhealthy
			}
			if got, exits := h.statusDoor(); got != want || exits != code {
				h.Errorf("%s: status tells %q, %d", what, got, exits)
			}
			if got, exits := h.doctorDoor(); got != want || exits != code {
				h.Errorf("%s: doctor tells %q, %d", what, got, exits)
			}
			if got := h.toolDoor(); got != want {
				h.Errorf("%s: cluster_status tells %q", what, got)
			}
			if got := h.readyDoor(); got != want {
				h.Errorf("%s: /readyz tells %q", what, got)
			}
			m := headline.FindStringSubmatch(h.asks("GET", "/", ""))
			if m == nil || m[2] != v.Level.Word() || m[3] != v.Summary {
				h.Errorf("%s: the dashboard's headline is %q, want %s %s", what, m, v.Level.Word(), v.Summary)
			}
		}
		must := func(err error) {
			h.Helper()
			if err != nil {
				h.Fatal(err)
			}
		}
		all("nothing is wrong", "ok")

		must(a.Tasks().SetState(ctx, "t1", map[string]any{"status": "failed"}))
		all("a task failed", "warn warn/failed-tasks")
		must(a.Tasks().Delete(ctx, "t1"))

		q := a.WorkQueue("mail")
		_, err := q.Enqueue(ctx, 1, workqueue.WithMaxAttempts(1))
		must(err)
		c, err := q.Claim(ctx)
		must(err)
		must(c.Fail(ctx, io.ErrUnexpectedEOF))
		all("an item is dead", "warn warn/dead-items")
		_, err = q.Purge(ctx)
		must(err)

		must(h.peers[2].Workers().SetStatus(ctx, "n3", map[string]any{"status": "busy", "task": "t2", "running": 1}))
		time.Sleep(time.Second)
		h.net.Split([]string{h.addr(0), h.addr(1)}, []string{h.addr(2)})
		time.Sleep(time.Minute)
		all("a voter is away with work in hand", "fail fail/peers fail/voters warn/abandoned-work")
		h.net.Split([]string{h.addr(0)}, []string{h.addr(1), h.addr(2)})
		time.Sleep(time.Minute)
		all("a majority of voters is away", "fail fail/voters fail/peers warn/abandoned-work")
		h.net.Heal()
		time.Sleep(time.Minute)
		must(h.peers[2].Workers().SetStatus(ctx, "n3", map[string]any{"status": "idle"}))
		time.Sleep(time.Minute)
		all("all is well again", "ok")

		must(h.peers[1].Close(ctx))
		all("a voter has stopped", "fail fail/voters")
		h.peers[1] = h.open(1, false)
		time.Sleep(5 * time.Second)
		all("it is back and silent", "fail fail/voters")
		time.Sleep(12 * time.Second)
		all("it votes and does not know all leases", "fail fail/voters")
		time.Sleep(6 * time.Second)
		all("nothing is wrong any more", "ok")
	})
}

// A command that only warns exits with 0 and prints the warning.
func TestAWarningIsShownAndExitsWithZero(t *testing.T) {
	housing(t, func(h *house) {
		if err := h.peers[0].Tasks().SetState(h.Context(), "t1", map[string]any{"status": "failed"}); err != nil {
			h.Fatal(err)
		}
		l, err := status.LookAt(h.Context(), &h.Client)
		if err != nil || !l.Healthy {
			h.Fatal(l, err)
		}
		var screen bytes.Buffer
		if err := l.Write(&screen, time.Now()); err != nil {
			h.Fatal(err)
		}
		if want := "warning: 3 of 3 peers alive; 1 task (t1) failed."; l.Sentence() != want {
			h.Errorf("%q, want %q", l.Sentence(), want)
		}
		if want := "  warn  1 task (t1) failed: their status says so\n        next: read"; !strings.HasPrefix(screen.String(), want) {
			h.Errorf("%s\nlacks %q", screen.String(), want)
		}
	})
}
