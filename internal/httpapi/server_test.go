package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fixture is a served agent and a client of it, in virtual time.
type fixture struct {
	t      *testing.T
	agent  *agent.Agent
	server *Server
	pipes  *pipes
	client *http.Client
}

const base = "http://127.0.0.1:7700"

func serving(t *testing.T, tune func(*Config), f func(*fixture)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last, for memberlist's last timers
		l, err := memnet.New(1).Listen("10.0.0.1:7946")
		if err != nil {
			t.Fatal(err)
		}
		a, err := agent.Open(t.Context(), agent.Config{Name: "n1", Cluster: "test", Bind: "10.0.0.1:7946", Network: l,
			Keys: [][]byte{make([]byte, 32)}, BatchInterval: agent.AtOnce, History: 64, WatchBuffer: 16})
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Agent: a, Logger: slog.New(slog.DiscardHandler)}
		if tune != nil {
			tune(&cfg)
		}
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		x := &fixture{t, a, Serve(p, cfg), p, &http.Client{Transport: &http.Transport{DialContext: p.dial}}}
		f(x)
		x.client.CloseIdleConnections()
		x.close()
	})
}

func (x *fixture) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := x.server.Close(ctx); err != nil {
		x.t.Errorf("close the server: %v", err)
	}
	if err := x.agent.Close(ctx); err != nil {
		x.t.Errorf("close the agent: %v", err)
	}
}

// answer is the answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request, and waits until every goroutine is idle.
func (x *fixture) do(method, path, body string, header ...string) answer {
	x.t.Helper()
	defer synctest.Wait() // subscribers and the history have the write then
	return x.send(method, path, body, header...)
}

func (x *fixture) send(method, path, body string, header ...string) answer {
	x.t.Helper()
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := x.client.Do(req)
	if err != nil {
		x.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatalf("%s %s: %v", method, path, err)
	}
	out := answer{res.StatusCode, res.Header, strings.TrimSpace(string(got))}
	conform(x.t, req, body, out)
	return out
}

func (x *fixture) must(want int, method, path, body string, header ...string) answer {
	x.t.Helper()
	got := x.do(method, path, body, header...)
	if got.status != want {
		x.t.Errorf("%s %s: %d %s, want %d", method, path, got.status, got.body, want)
	}
	return got
}

// refused checks that an answer is a problem with this code, whose detail contains each of the
// parts.
func (x *fixture) refused(code string, got answer, parts ...string) {
	x.t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.header.Get("Content-Type") != "application/problem+json" {
		x.t.Errorf("not a problem: %d %s", got.status, got.body)
		return
	}
	if p.Code != code || p.Status != got.status || p.Title == "" || !strings.HasSuffix(p.Type, "#"+code) {
		x.t.Errorf("got %+v with status %d, want code %q", p, got.status, code)
	}
	if strings.Contains(p.Detail, "context ") { // clients do not know what a Go context is
		x.t.Errorf("%s: %q", code, p.Detail)
	}
	for _, part := range parts {
		if !strings.Contains(p.Detail, part) {
			x.t.Errorf("%s: %q does not say %q", code, p.Detail, part)
		}
	}
}

func (x *fixture) reads(path, want string) answer {
	x.t.Helper()
	got := x.must(200, "GET", path, "")
	if got.body != want {
		x.t.Errorf("GET %s: %s, want %s", path, got.body, want)
	}
	return got
}

func TestKeysOfEveryType(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/tasks/42/state", `{"status":"running","n":1.5}`)
		x.must(200, "PUT", "/v1/keys/tasks%2F42%2Fstate", `"done"`)
		got := x.reads("/v1/keys/tasks/42/state", `"done"`)
		if got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", got.header)
		}
		x.must(200, "HEAD", "/v1/keys/tasks/42/state", "")
		if got := x.must(200, "DELETE", "/v1/keys/tasks/42/state", ""); strings.TrimSpace(got.body) != `{"key":"tasks/42/state","deleted":true}` {
			t.Errorf("a delete answers %s", got.body)
		}
		x.refused("not-found", x.must(404, "GET", "/v1/keys/tasks/42/state", ""))
		x.must(200, "DELETE", "/v1/keys/tasks/42/state", "")

		x.must(201, "PUT", "/v1/keys/s", `"short"`, "Content-Type", "text/plain")
		x.must(200, "PUT", "/v1/keys/s?ttl=30s", `"shorter"`)
		time.Sleep(29 * time.Second)
		x.reads("/v1/keys/s", `"shorter"`)
		time.Sleep(2 * time.Second)
		x.must(404, "GET", "/v1/keys/s", "")

		if got := x.must(201, "POST", "/v1/sets/tags", `{"add":["b","a",1]}`); !strings.HasSuffix(got.body, `"created":true,"value":[1,"a","b"]}`) {
			t.Errorf("set: %s", got.body)
		}
		x.must(200, "POST", "/v1/sets/tags", `{"remove":["b"]}`)
		x.reads("/v1/keys/tags", `[1,"a"]`)
		x.must(201, "POST", "/v1/counters/hits", `{"add":3}`)
		if got := x.must(200, "POST", "/v1/counters/hits", `{"add":-5}`); !strings.HasSuffix(got.body, `"created":false,"value":-2}`) {
			t.Errorf("counter: %s", got.body)
		}
		x.must(201, "POST", "/v1/counters/top", `{"max":7.5}`)
		if got := x.must(200, "POST", "/v1/counters/top", `{"max":3}`); !strings.HasSuffix(got.body, `"value":7.5}`) {
			t.Errorf("max: %s", got.body)
		}
		x.must(201, "PATCH", "/v1/keys/o", `{"a":1,"b":{"c":2}}`)
		x.must(200, "PATCH", "/v1/keys/o", `{"a":null,"b":{"d":[3]}}`)
		x.reads("/v1/keys/o", `{"b":{"c":2,"d":[3]}}`)
		x.must(200, "PATCH", "/v1/keys/o", `{"a":null,"b":null}`)
		x.reads("/v1/keys/o", `{}`)
		if got := x.must(201, "PUT", "/v1/keys/nulls?type=object", `{"a":null}`); got.header.Get("ETag") == "" {
			t.Errorf("an object of nulls has no version: %s", got.body)
		}
		x.reads("/v1/keys/nulls", `{}`)
		x.must(201, "PUT", "/v1/keys/members?type=set", `["z","y"]`)
		x.reads("/v1/keys/members", `["y","z"]`)
		x.must(201, "PUT", "/v1/keys/%E2%9C%93%20%3F%23", "null")
		x.reads("/v1/keys/✓%20%3F%23", "null")
	})
}

func TestConditionsAreOnTheVersion(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/k", "1", "If-None-Match", "*")
		x.refused("version-conflict", x.must(412, "PUT", "/v1/keys/k", "2", "If-None-Match", "*"))
		first := x.reads("/v1/keys/k", "1").header.Get("ETag")
		x.must(304, "GET", "/v1/keys/k", "", "If-None-Match", first)
		second := x.must(200, "PUT", "/v1/keys/k", "2", "If-Match", first).header.Get("ETag")
		if second == first || second != x.reads("/v1/keys/k", "2").header.Get("ETag") {
			t.Errorf("etags %s, then %s", first, second)
		}
		got := x.must(412, "DELETE", "/v1/keys/k", "", "If-Match", first)
		x.refused("version-conflict", got)
		if !strings.Contains(got.body, `"current_version":`+second) {
			t.Errorf("%s does not name %s", got.body, second)
		}
		x.must(200, "DELETE", "/v1/keys/k", "", "If-Match", second)
		x.refused("bad-request", x.must(400, "PUT", "/v1/keys/k", "2", "If-Match", `"zebra"`), "If-Match", "ETag")
		x.refused("bad-request", x.must(400, "PUT", "/v1/keys/k", "2", "If-None-Match", "first"), "*")
	})
}

func TestListsComeInPages(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for i := range 7 {
			x.must(201, "PUT", fmt.Sprintf("/v1/keys/t/%d", i), fmt.Sprint(i))
		}
		x.must(201, "PUT", "/v1/keys/other", "0")
		var seen []string
		query := url.Values{"match": {"t/*"}, "limit": {"3"}, "values": {"true"}, "count": {"true"}}
		for pages := 0; ; pages++ {
			var page struct {
				Items []struct {
					Key, Type, Version, Writer string
					Value                      int
				}
				Count int
				Next  string
			}
			got := x.must(200, "GET", "/v1/keys?"+query.Encode(), "")
			if err := json.Unmarshal([]byte(got.body), &page); err != nil {
				t.Fatal(err)
			}
			for _, k := range page.Items {
				seen = append(seen, k.Key)
				if k.Key != fmt.Sprintf("t/%d", k.Value) || k.Type != "register" || k.Writer != "n1" || len(k.Version) != 16 || page.Count != 7 {
					t.Errorf("%+v of %d", k, page.Count)
				}
			}
			if page.Next == "" || pages > 9 {
				break
			}
			query.Set("after", page.Next)
		}
		if strings.Join(seen, " ") != "t/0 t/1 t/2 t/3 t/4 t/5 t/6" {
			t.Errorf("got %v", seen)
		}
		x.reads("/v1/keys?match=nothing/**", `{"items":[]}`)
	})
}

func TestTheClusterIsShown(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(200, "GET", "/healthz", "")
		x.must(200, "GET", "/readyz", "")
		x.must(201, "PUT", "/v1/keys/k", "1")
		var list api.List[api.Member]
		got := x.must(200, "GET", "/v1/members", "")
		if err := json.Unmarshal([]byte(got.body), &list); err != nil || *list.Count != 1 || list.Items[0].Name != "n1" || !list.Items[0].Self {
			t.Errorf("members %s: %v", got.body, err)
		}
		var s struct {
			Writes uint64
			Vector map[string]uint64
		}
		got = x.must(200, "GET", "/v1/stats", "")
		if err := json.Unmarshal([]byte(got.body), &s); err != nil || s.Writes != 1 || len(s.Vector) != 1 {
			t.Errorf("stats %s: %v", got.body, err)
		}
		var d api.Digest
		got = x.must(200, "GET", "/v1/digest", "")
		if err := json.Unmarshal([]byte(got.body), &d); err != nil || d.Keys != 1 || d.Hash == "" {
			t.Errorf("digest %s: %v", got.body, err)
		}
		x.reads("/v1/conflicts", `{"items":[],"count":0}`)
		x.refused("not-found", x.must(404, "POST", "/v1/forget", `{"name":"n9"}`))
	})
}

func TestBadRequestsAreToldWhatIsAllowed(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		long := strings.Repeat("k", 1025)
		deep := strings.Repeat("[", 33) + strings.Repeat("]", 33)
		for _, c := range []struct {
			code, method, path, body string
			parts                    []string
		}{
			{"bad-key", "PUT", "/v1/keys/" + long, "1", []string{"1024"}},
			{"bad-key", "PUT", "/v1/keys/a%00b", "1", []string{"control"}},
			{"bad-key", "PUT", "/v1/keys/a%FFb", "1", []string{"UTF-8"}},
			{"bad-key", "PUT", "/v1/keys/a%2F..%2Fb", "1", []string{".."}},
			{"bad-key", "PUT", "/v1/keys/a/../b", "1", []string{".."}},
			{"bad-key", "PUT", "/v1/keys/a//b", "1", []string{"empty"}},
			{"bad-key", "PUT", "/v1/keys/a/./b", "1", []string{"."}},
			{"bad-key", "GET", "/v1/keys/", "", nil},
			{"bad-key", "PUT", "/v1/keys", "1", []string{"no key", "PUT /v1/keys/{key}"}},
			{"bad-key", "DELETE", "/v1/keys", "", []string{"no key"}},
			{"bad-key", "POST", "/v1/counters", `{"add":1}`, []string{"no key"}},
			{"bad-key", "GET", "/v1/keys/a%2F%2Fb", "", []string{"empty"}},
			{"bad-value", "PUT", "/v1/keys/k", "", nil},
			{"bad-value", "PUT", "/v1/keys/k", "{", nil},
			{"bad-value", "PUT", "/v1/keys/k", "1 2", nil},
			{"bad-value", "PUT", "/v1/keys/k", "NaN", nil},
			{"bad-value", "PUT", "/v1/keys/k", deep, []string{"32"}},
			{"bad-value", "PUT", "/v1/keys/k", `"` + strings.Repeat("v", wire.MaxValueBytes) + `"`, []string{"1048576"}},
			{"too-large", "PUT", "/v1/keys/k", `"` + strings.Repeat("v", maxBody) + `"`, []string{"1048576"}},
			{"bad-request", "PUT", "/v1/keys/k?ttl=soon", "1", []string{"30s"}},
			{"bad-request", "PUT", "/v1/keys/k?ttl=-1s", "1", []string{"of 1ms to 876000h"}},
			{"bad-request", "PUT", "/v1/keys/k?ttl=99999999h", "1", []string{"of 1ms to 876000h"}},
			{"bad-request", "POST", "/v1/workers/w/heartbeat", `{"ttl":"99999999h"}`, []string{"of 1ms to 876000h"}},
			{"bad-request", "POST", "/v1/locks/l", `{"ttl":"99999999h"}`, []string{"of 500ms to the --max-ttl"}},
			{"bad-ttl", "POST", "/v1/locks/l", `{"ttl":"1ms"}`, []string{"500ms to 15s"}},
			{"bad-request", "POST", "/v1/locks/l", `{"wait":"25h"}`, []string{"of 0s to 24h"}},
			{"bad-request", "POST", "/v1/locks/l", `{"shared":1}`, []string{"shared is a number; want true or false"}},
			{"bad-request", "POST", "/v1/queues/q/claim", `{"max":"1"}`, []string{"max is a string; want an integer"}},
			{"bad-request", "PUT", "/v1/keys/k?tll=30s", "1", []string{"tll", "ttl"}},
			{"bad-request", "PUT", "/v1/keys/k?type=list", "1", []string{"list", "set"}},
			{"bad-request", "PUT", "/v1/keys/k?replicas=many", "1", []string{"many"}},
			{"bad-request", "GET", "/v1/keys?limit=0", "", []string{"1000"}},
			{"bad-request", "GET", "/v1/keys?values=yes", "", []string{"true"}},
			{"bad-request", "GET", "/v1/keys?match=" + url.QueryEscape("[z"), "", nil},
			{"bad-request", "GET", "/v1/stats?verbose=1", "", []string{"verbose", "none"}},
			{"bad-request", "GET", "/v1/conflicts?limit=x", "", []string{"1000"}},
			{"bad-request", "GET", "/v1/conflicts?match=" + url.QueryEscape("[z"), "", nil},
			{"bad-request", "GET", "/v1/watch?match=" + url.QueryEscape("[z"), "", nil},
			{"bad-request", "GET", "/v1/watch?snapshot=1", "", []string{"true"}},
			{"bad-request", "GET", "/v1/watch?last_event_id=zebra", "", []string{"Last-Event-ID"}},
			{"bad-request", "POST", "/v1/sets/s", `{}`, []string{"add"}},
			{"bad-request", "POST", "/v1/sets/s", `{"put":[1]}`, []string{"put"}},
			{"bad-request", "POST", "/v1/counters/c", `{"add":1,"max":2}`, []string{"add", "max"}},
			{"bad-request", "POST", "/v1/counters/c", `{"add":1.5}`, []string{"add is a number 1.5", "an integer within 64 bits"}},
			{"bad-request", "POST", "/v1/counters/c", `{"add":9223372036854775808}`, []string{"64 bits"}},
			{"bad-request", "POST", "/v1/sets/s", `{"add":"x"}`, []string{"add is a string; want an array"}},
			{"bad-request", "POST", "/v1/counters/c", `[`, nil},
			{"bad-request", "POST", "/v1/counters/c", `{"add":1} {"add":2}`, []string{"nothing after it"}},
			{"bad-request", "POST", "/v1/sets/s", `{"add":[1]}]`, []string{"nothing after it"}},
			{"bad-request", "POST", "/v1/sets/s", `{"ad":[1]}`, []string{`unknown field "ad"; allowed are add, remove`}},
			{"bad-request", "POST", "/v1/forget", `{"name":"n2"}x`, []string{"nothing after it"}},
			{"bad-request", "POST", "/v1/forget", "", []string{"body is empty; want an object with name"}},
			{"not-found", "POST", "/v1/forget", `{"name":"n9"}`, []string{"n9", "down"}},
			{"alive", "POST", "/v1/forget", `{"name":"n1"}`, []string{"n1", "alive", "down"}},
			{"bad-request", "PATCH", "/v1/keys/k?type=set", "{}", []string{"type", "ttl"}},
			{"bad-value", "PUT", "/v1/keys/k", "18446744073709551616", []string{"18446744073709551615", "64 bits"}},
			{"bad-value", "PUT", "/v1/keys/k", `{"a":[-9223372036854775809]}`, []string{"-9223372036854775808"}},
			{"bad-value", "POST", "/v1/counters/c", `{"max":18446744073709551616}`, []string{"64 bits"}},
			{"bad-value", "PUT", "/v1/keys/k?type=counter", "1", []string{"counter", "add"}},
			{"bad-request", "POST", "/v1/forget", `"n2"`, []string{"it is a string; want an object"}},
			{"bad-value", "POST", "/v1/counters/c", `{"max":"high"}`, nil},
			{"bad-value", "PATCH", "/v1/keys/o", `[1]`, nil},
			{"no-such-route", "GET", "/v2/keys/k", "", []string{"/v2/keys/k"}},
			{"no-such-route", "POST", "/v1/dev/cut", `{"peers":["n2"]}`, nil},
			{"method-not-allowed", "POST", "/v1/keys/k", "1", []string{"GET, HEAD, PUT, PATCH, DELETE"}},
			{"method-not-allowed", "DELETE", "/v1/stats", "", []string{"GET"}},
		} {
			req := x.do(c.method, c.path, c.body)
			if req.status < 400 || req.status >= 500 {
				t.Errorf("%s %.60s: %d", c.method, c.path, req.status)
			}
			x.refused(c.code, req, c.parts...)
		}
		if keys, _ := x.agent.Keys("**"); len(keys) != 0 {
			t.Errorf("refused requests wrote %v", keys)
		}
		x.must(201, "POST", "/v1/counters/c", `{"add":1}`)
		x.refused("wrong-type", x.must(409, "POST", "/v1/sets/c", `{"add":[1]}`), "counter", "set")
		x.refused("wrong-type", x.must(409, "PUT", "/v1/keys/c", `1`), "add to it")
	})
}

func TestAddressesBeyondLoopbackAreRefused(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", ":0", "10.0.0.1:0", "example.org:0", "127.0.0.1"} {
		if s, err := Listen(addr, false); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: %v, %v", addr, s, err)
		}
	}
}

func TestAWriteThatWaitsForCopiesSaysWhoLacksIt(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		got := x.must(504, "PUT", "/v1/keys/k?replicas=2", "1")
		x.refused("not-replicated", got, "0 of 2")
		x.reads("/v1/keys/k", "1")
	})
}

func TestFaultsAreServedOnlyOnDemand(t *testing.T) {
	serving(t, func(c *Config) { c.Faults = true }, func(x *fixture) {
		x.refused("faults-disabled", x.must(403, "POST", "/v1/dev/cut", `{"peers":["10.0.0.2:7946"]}`))
		x.refused("faults-disabled", x.must(403, "POST", "/v1/dev/heal", ""))
		x.refused("bad-request", x.must(400, "POST", "/v1/dev/cut", `[`))
	})
}

func TestEveryCodeAndOperationIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, f := range append(files, "../api/fault.go") {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Code: |http\.Status\w+, |Fault\{)"([a-z-]+)"`).FindAllSubmatch(source, -1) {
			codes = append(codes, string(m[1]))
		}
	}
	if len(codes) < 15 {
		t.Fatalf("found only %v", codes)
	}
	for _, c := range codes {
		if !bytes.Contains(doc, []byte(`<a id="`+c+`"></a>`+"`"+c+"`")) {
			t.Errorf("docs/http.md does not explain code %q", c)
		}
	}
	for _, m := range regexp.MustCompile(`<a id="([a-z-]+)">`).FindAllSubmatch(doc, -1) {
		if c := string(m[1]); c != "codes" && !slices.Contains(codes, c) {
			t.Errorf("docs/http.md explains code %q, which nothing gives", c)
		}
	}
	for _, op := range api.Operations {
		if !bytes.Contains(doc, []byte(op.Path)) {
			t.Errorf("docs/http.md does not mention %s %s", op.Method, op.Path)
		}
		for _, p := range op.Params {
			if !bytes.Contains(doc, []byte(p)) {
				t.Errorf("docs/http.md does not mention parameter %s of %s", p, op.Name)
			}
		}
	}
}
