package httpapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// callers is a token file with some callers, whose tokens bearer returns.
type callers struct {
	t    *testing.T
	file string
	*Tokens
}

func newCallers(t *testing.T, lines ...string) *callers {
	c := &callers{t: t, file: filepath.Join(t.TempDir(), "tokens")}
	c.write(lines...)
	return c
}

// tune makes a server demand tokens. It is called inside the bubble of virtual time.
func (c *callers) tune(cfg *Config) {
	var err error
	if c.Tokens, err = LoadTokens(context.Background(), c.file, slog.New(slog.DiscardHandler)); err != nil {
		c.t.Fatal(err)
	}
	cfg.Tokens = c.Tokens
}

// write writes the file anew; each line is a name and its rights.
func (c *callers) write(lines ...string) {
	c.t.Helper()
	var b strings.Builder
	for _, l := range lines {
		name, rights, _ := strings.Cut(l, " ")
		fmt.Fprintln(&b, name, tokenOf(name), rights)
	}
	if err := os.WriteFile(c.file, []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func tokenOf(name string) string { return "token-of-" + name + "-0123456789" }

// as returns the header that makes a request one of the named caller.
func as(name string) []string { return []string{"Authorization", "Bearer " + tokenOf(name)} }

func TestWithTokensNobodyElseMayCall(t *testing.T) {
	c := newCallers(t, "ci read:k")
	serving(t, func(cfg *Config) { c.tune(cfg); cfg.Metrics = http.NotFoundHandler() }, func(x *fixture) {
		basic := "Basic " + tokenOf("ci")
		for _, header := range [][]string{nil, {"Authorization", "Bearer nobody"}, {"Authorization", basic}, {"Authorization", tokenOf("ci")},
			{"Authorization", "Bearer"}, {"Authorization", "Bearer " + strings.Repeat("x", 10_000)}, {"Cookie", "sentinel-peer-7700=" + tokenOf("ci")}} {
			for _, op := range api.Operations {
				path := strings.NewReplacer("{key}", "k", "{id}", "i", "{agent}", "a", "{queue}", "q").Replace(op.Path)
				got := x.send(op.Method, path, "", header...)
				x.refused("unauthorized", got)
				if challenge := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.HasPrefix(challenge, "Bearer ") {
					t.Errorf("%s: %d %q", op.Name, got.status, challenge)
				}
			}
			x.refused("unauthorized", x.must(401, "GET", "/metrics", "", header...))
			x.refused("unauthorized", x.must(401, "GET", "/nowhere", "", header...))
		}
		x.reads("/healthz", "ok")
		x.reads("/readyz", "ready\nverdict: ok")
		if n := x.server.Stats().Refused["unauthorized"]; n < 7*uint64(len(api.Operations)) {
			t.Errorf("%d refusals counted", n)
		}
	})
}

func TestATokenMayDoWhatItsRightsSay(t *testing.T) {
	c := newCallers(t, "reader read:tasks/", "writer write:memory/x/", "locker lock:deploy", "boss write:* lock:* admin")
	tune := func(cfg *Config) {
		c.tune(cfg)
		cfg.Faults = true
		cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1") })
	}
	serving(t, tune, func(x *fixture) {
		x.must(200, "GET", "/metrics", "", as("boss")...)
		x.refused("forbidden", x.must(403, "GET", "/metrics", "", as("reader")...), "lacks read:*")
		x.refused("forbidden", x.must(403, "POST", "/v1/dev/heal", "", as("writer")...), "lacks admin")
		x.must(201, "PUT", "/v1/keys/tasks%2F1", `"t"`, as("boss")...)
		x.must(200, "GET", "/v1/keys/tasks/1", "", as("reader")...)
		x.refused("forbidden", x.must(403, "PUT", "/v1/keys/tasks/1", "1", as("reader")...), `token "reader" lacks write:tasks/1`)
		x.refused("forbidden", x.must(403, "GET", "/v1/keys/memory/x/1", "", as("reader")...), "lacks read:memory/x/1")
		x.must(201, "PUT", "/v1/keys/memory/x/1", "1", as("writer")...)
		x.refused("forbidden", x.must(403, "DELETE", "/v1/keys/memory/y/1", "", as("writer")...), "write:memory/y/1")
		x.refused("forbidden", x.must(403, "PUT", "/v1/keys/memory%2Fx%2F..%2Fy", "1", as("reader")...), "lacks")
		x.must(200, "POST", "/v1/locks/deploy", "", as("locker")...)
		x.refused("forbidden", x.must(403, "POST", "/v1/locks/other", "", as("locker")...), "lock:other")
		x.refused("forbidden", x.must(403, "POST", "/v1/forget", `{"name":"n9"}`, as("writer")...), "lacks admin")
		if got := x.do("POST", "/v1/forget", `{"name":"n9"}`, as("boss")...); got.status == 403 {
			t.Errorf("an admin: %v", got)
		}
		if got := x.must(200, "GET", "/v1/keys?count=true", "", as("reader")...); !strings.Contains(got.body, `"tasks/1"`) || strings.Contains(got.body, "memory") || !strings.Contains(got.body, `"count":1`) {
			t.Errorf("a list of what may be read: %s", got.body)
		}
		x.refused("forbidden", x.must(403, "GET", "/v1/keys?match=memory/**", "", as("reader")...), "read:memory/**")
		x.refused("forbidden", x.must(403, "GET", "/v1/watch?match=memory/**", "", as("reader")...))
		x.refused("forbidden", x.must(403, "GET", "/v1/conflicts?match=memory/**", "", as("reader")...))
		if got := x.must(200, "GET", "/v1/locks", "", as("reader")...); !strings.Contains(got.body, `"items":[]`) {
			t.Errorf("locks: %s", got.body)
		}
		x.must(201, "POST", "/v1/queues/q/items", `{"value":1}`, as("boss")...)
		x.refused("forbidden", x.must(403, "POST", "/v1/queues/q/claim", "", as("reader")...), "write:task-sentinel/queues/q")
		for _, path := range []string{"/v1/queues", "/v1/stats"} {
			if got := x.must(200, "GET", path, "", as("reader")...); strings.Contains(got.body, `"q"`) {
				t.Errorf("%s shows a queue that may not be read: %s", path, got.body)
			}
		}
	})
}

func TestAWatchTellsOnlyWhatMayBeRead(t *testing.T) {
	c := newCallers(t, "reader read:tasks/")
	serving(t, c.tune, func(x *fixture) {
		e := x.watch("", as("reader")...)
		defer e.body.Close()
		e.expect(": watching")
		for _, key := range []string{"secret/1", "tasks/1", "tasks-secret", "tasks/2"} {
			if err := x.agent.Put(x.t.Context(), key, key); err != nil {
				t.Fatal(err)
			}
		}
		e.expect("put", `"tasks/1"`)
		e.expect("put", `"tasks/2"`)
	})
}

// The watch of a token that was withdrawn ends while others go on. A file that cannot be read
// changes nothing.
func TestTokensAreReadAgain(t *testing.T) {
	c := newCallers(t, "old read:*", "kept read:*")
	serving(t, c.tune, func(x *fixture) {
		old, kept := x.watch("", as("old")...), x.watch("", as("kept")...)
		defer old.body.Close()
		defer kept.body.Close()
		old.expect(": watching")
		kept.expect(": watching")
		c.write("kept read")
		if err := c.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), ":1: ") {
			t.Errorf("a malformed file: %v", err)
		}
		x.must(200, "GET", "/v1/keys", "", as("old")...)
		c.write("kept read:*", "new read:*")
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(old.body); len(rest) > 0 || err != nil {
			t.Errorf("the old stream went on: %q, %v", rest, err)
		}
		x.must(401, "GET", "/v1/keys", "", as("old")...)
		x.must(200, "GET", "/v1/keys", "", as("new")...)
		if err := x.agent.Put(x.t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		kept.expect("put", `"k"`)
	})
}

// A wait for a lock ends when its token is withdrawn.
func TestAWithdrawnTokenWaitsNoMore(t *testing.T) {
	c := newCallers(t, "boss lock:*", "waiter lock:*")
	serving(t, c.tune, func(x *fixture) {
		x.must(200, "POST", "/v1/locks/l", `{"ttl":"15s"}`, as("boss")...)
		got := make(chan answer, 1)
		go func() { got <- x.send("POST", "/v1/locks/l", `{"wait":"10s"}`, as("waiter")...) }()
		synctest.Wait()
		if s := x.server.Stats(); s.Streams != 1 || s.Running != 0 {
			t.Errorf("while it waits: %+v", s)
		}
		began := time.Now()
		c.write("boss lock:*")
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if a := <-got; a.status == 200 || time.Since(began) > time.Second {
			t.Errorf("it waited %v: %v", time.Since(began), a)
		}
	})
}

// form posts a form as a browser does. It follows no redirect.
func (x *fixture) form(path string, fields url.Values, header ...string) answer {
	x.t.Helper()
	return x.send("POST", path, fields.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func TestALoginIsACookieForThisServer(t *testing.T) {
	c := newCallers(t, "me write:k")
	login := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "who are you?") })
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, api.GrantOf(r.Context()).Name) })
	tune := func(cfg *Config) {
		c.tune(cfg)
		cfg.Mounts, cfg.Public = map[string]http.Handler{"/": page}, map[string]http.Handler{"GET /login": login}
	}
	serving(t, tune, func(x *fixture) {
		x.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		to := func(want string, got answer) {
			t.Helper()
			if got.status != 303 || got.header.Get("Location") != want {
				t.Errorf("%d to %q, want %q", got.status, got.header.Get("Location"), want)
			}
		}
		to("/login?next=%2F%3Fa%3Db", x.send("GET", "/?a=b", "", "Accept", "text/html"))
		x.must(401, "GET", "/", "")
		x.reads("/login", "who are you?")
		to("/login?failed=1&next=%2F%3Fa%3Db", x.form("/login", url.Values{"token": {"nobody"}, "next": {"/?a=b"}}))
		for _, evil := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, "evil", "", "/\n/x", "javascript:alert(1)"} {
			to("/", x.form("/login", url.Values{"token": {tokenOf("me")}, "next": {evil}}))
		}
		got := x.form("/login", url.Values{"token": {tokenOf("me")}, "next": {"/?a=b"}})
		to("/?a=b", got)
		set := got.header.Get("Set-Cookie")
		for _, want := range []string{"sentinel-peer-7700=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} {
			if !strings.Contains(set, want) || strings.Contains(set, tokenOf("me")) {
				t.Errorf("Set-Cookie: %s", set)
			}
		}
		value, _, _ := strings.Cut(set, ";")
		cookie := []string{"Cookie", value}
		if got := x.must(200, "GET", "/", "", cookie...); got.body != "me" {
			t.Errorf("logged in as %s", got.body)
		}
		x.must(404, "GET", "/v1/keys/k", "", cookie...)
		x.refused("unauthorized", x.must(401, "PUT", "/v1/keys/k", "1", cookie...))
		x.must(403, "PUT", "/v1/keys/k", "1", append(cookie, "Origin", "http://127.0.0.1:9")...)
		x.must(403, "GET", "/v1/keys/k", "", append(cookie, "Sec-Fetch-Site", "same-site")...)
		x.must(201, "PUT", "/v1/keys/k", "1", append(cookie, "Origin", base)...)
		x.must(200, "PUT", "/v1/keys/k", "2", append(cookie, "Sec-Fetch-Site", "same-origin")...)
		x.must(403, "PUT", "/v1/keys/other", "1", append(cookie, "Origin", base)...)

		to("/login", x.form("/logout", nil, append(cookie, "Origin", base)...))
		x.must(401, "GET", "/v1/keys/k", "", cookie...)
		x.must(413, "POST", "/login", strings.Repeat("x", 2*maxForm), "Content-Type", "application/x-www-form-urlencoded")
	})
}

func TestALoginEndsWithItsToken(t *testing.T) {
	c := newCallers(t, "me read:*", "you read:*")
	serving(t, c.tune, func(x *fixture) {
		x.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		value, _, _ := strings.Cut(x.form("/login", url.Values{"token": {tokenOf("me")}}).header.Get("Set-Cookie"), ";")
		x.must(200, "GET", "/v1/keys", "", "Cookie", value)
		c.write("you read:*")
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.must(401, "GET", "/v1/keys", "", "Cookie", value)
	})
}

func TestLoginsAreFewAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls := &logins{open: map[[sha256.Size]byte]login{}}
		var last string
		first, err := ls.begin([sha256.Size]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range maxLogins {
			time.Sleep(time.Second)
			if last, err = ls.begin([sha256.Size]byte{1 + byte(i/tokenLogins)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ls.begin([sha256.Size]byte{200}); err == nil || len(ls.open) != maxLogins {
			t.Errorf("%d and one more: %v", len(ls.open), err)
		}
		r, _ := http.NewRequest("GET", base, nil)
		r.Header.Set("Cookie", cookieName(r)+"="+first)
		if _, ok := ls.of(r); ok {
			t.Error("the oldest of a token that has its share is still good")
		}
		r.Header.Del("Cookie")
		r.Header.Set("Cookie", cookieName(r)+"="+last)
		if token, ok := ls.of(r); !ok || token[0] != maxLogins/tokenLogins {
			t.Errorf("%v %t", token, ok)
		}
		time.Sleep(loginTime)
		if _, ok := ls.of(r); ok {
			t.Error("it did not end")
		}
		if _, err := ls.begin([sha256.Size]byte{2}); err != nil || len(ls.open) != 1 {
			t.Errorf("when the others have ended: %v, %d are kept", err, len(ls.open))
		}
	})
}
