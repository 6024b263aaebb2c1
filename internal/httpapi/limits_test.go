package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hold mounts a page that answers when the returned channel is closed.
func hold(cfg *Config) chan struct{} {
	let := make(chan struct{})
	cfg.Mounts = map[string]http.Handler{"GET /hold": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-let })}
	return let
}

func TestOnlySoManyRequestsAreUnderWay(t *testing.T) {
	c := newCallers(t, "a read:*", "b read:*", "c read:*")
	var let chan struct{}
	serving(t, func(cfg *Config) { c.tune(cfg); let = hold(cfg); cfg.Limits = Limits{Requests: 4} }, func(x *fixture) {
		held := func(name string) {
			go func() { x.send("GET", "/hold", "", as(name)...) }()
			synctest.Wait()
		}
		held("a")
		held("a")
		got := x.must(429, "GET", "/v1/keys", "", as("a")...)
		x.refused("too-many-requests", got, "over 2 requests at once")
		if got.header.Get("Retry-After") != "1" {
			t.Errorf("%v", got.header)
		}
		x.must(200, "GET", "/v1/keys", "", as("b")...)
		held("b")
		held("b")
		got = x.must(503, "GET", "/v1/keys", "", as("c")...)
		x.refused("busy", got, "4 requests are under way")
		x.must(200, "GET", "/healthz", "")
		x.must(200, "GET", "/readyz", "")
		if s := x.server.Stats(); s.Running != 4 || s.Refused["busy"] != 1 || s.Refused["too-many-requests"] != 1 || s.Requests["GET /hold"] != 4 {
			t.Errorf("%+v", s)
		}
		close(let)
		synctest.Wait()
		x.must(200, "GET", "/v1/keys", "", as("c")...)
		if s := x.server.Stats(); s.Running != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestOnlySoManyStreamsAndWaits(t *testing.T) {
	c := newCallers(t, "a write:* lock:*", "b write:* lock:*", "c write:* lock:*")
	serving(t, func(cfg *Config) { c.tune(cfg); cfg.Limits = Limits{Streams: 4} }, func(x *fixture) {
		x.must(200, "POST", "/v1/locks/l", `{"ttl":"15s"}`, as("c")...)
		one := x.watch("", as("a")...)
		defer one.body.Close()
		waits := make(chan answer, 2)
		wait := func(name string) {
			go func() { waits <- x.send("POST", "/v1/locks/l", `{"wait":"5s"}`, as(name)...) }()
			synctest.Wait()
		}
		wait("a")
		x.refused("too-many-requests", x.must(429, "GET", "/v1/watch", "", as("a")...), "over 2 streams and waits")
		x.refused("too-many-requests", x.must(429, "POST", "/v1/queues/q/claim", `{"wait":"1s"}`, as("a")...))
		x.must(200, "GET", "/v1/keys", "", as("a")...)
		two := x.watch("", as("b")...)
		defer two.body.Close()
		wait("b")
		x.refused("busy", x.must(503, "GET", "/v1/watch", "", as("c")...), "4 streams and waits")
		x.refused("busy", x.must(503, "POST", "/v1/locks/l", `{"wait":"1s"}`, as("c")...))
		x.refused("held", x.must(409, "POST", "/v1/locks/l", "", as("c")...)) // without a wait
		for range 2 {
			if a := <-waits; a.status != 409 {
				t.Errorf("%v", a)
			}
		}
		synctest.Wait()
		if s := x.server.Stats(); s.Streams != 2 || s.Running != 0 {
			t.Errorf("%+v", s)
		}
		three := x.watch("", as("c")...)
		three.body.Close()
	})
}

// Two clients cannot take all waits: the last are kept for clients that have few.
func TestTheLastWaitsAreForThoseWhoHaveFew(t *testing.T) {
	l := &load{Limits: Limits{Streams: 128}.withDefaults()} // 16 are kept, for clients with fewer than 2
	take := func(c *client) *Problem {
		_, refused := l.enter(c, true)
		return refused
	}
	greedy := []*client{newClient(), newClient()}
	for i := range 112 {
		if refused := take(greedy[i%2]); refused != nil {
			t.Fatalf("%d: %v", i, refused)
		}
	}
	for _, c := range greedy {
		if refused := take(c); refused == nil || refused.Status != 429 || refused.Detail != "the last of 128 streams and waits are kept for clients that have fewer than 2" {
			t.Errorf("%v", refused)
		}
	}
	other := newClient()
	for range 2 {
		if refused := take(other); refused != nil {
			t.Errorf("a client that has less than two is shut out: %v", refused)
		}
	}
	if take(other) == nil {
		t.Error("a client that has two takes what is kept")
	}
	if n := l.streams.Load(); n != 114 {
		t.Errorf("%d are under way", n)
	}
}

func TestAClientHasItsRate(t *testing.T) {
	c := newCallers(t, "a read:*", "b read:*")
	serving(t, func(cfg *Config) { c.tune(cfg); cfg.Limits = Limits{Rate: 10} }, func(x *fixture) {
		for range 10 {
			x.must(200, "GET", "/v1/keys", "", as("a")...)
		}
		x.refused("too-many-requests", x.must(429, "GET", "/v1/keys", "", as("a")...), "10 requests in a second")
		x.must(200, "GET", "/v1/keys", "", as("b")...)
		time.Sleep(time.Second)
		x.must(200, "GET", "/v1/keys", "", as("a")...)
	})
}

func TestLargeBodiesShareARoom(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Limits = Limits{Bodies: 2 * smallBody} }, func(x *fixture) {
		body, more := io.Pipe()
		got := make(chan answer, 1)
		go func() {
			req, _ := http.NewRequest("PUT", base+"/v1/keys/slow", body)
			req.ContentLength = smallBody + 2
			res, err := x.client.Do(req)
			if err != nil {
				t.Error(err)
				got <- answer{}
				return
			}
			res.Body.Close()
			got <- answer{status: res.StatusCode}
		}()
		fmt.Fprint(more, `"`)
		synctest.Wait()
		large := `"` + strings.Repeat("x", smallBody) + `"`
		x.refused("busy", x.must(503, "PUT", "/v1/keys/large", large))
		x.must(201, "PUT", "/v1/keys/small", `"x"`)
		fmt.Fprint(more, strings.Repeat("x", smallBody)+`"`)
		more.Close()
		if a := <-got; a.status != 201 {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		x.must(201, "PUT", "/v1/keys/large", large)
	})
}

// from is a connection of another address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.address), Port: 1} }

// arrive opens a connection from an address, and returns what a GET there answers.
func (x *fixture) arrive(address string) (ask func(path string) *http.Response, close func() error) {
	x.t.Helper()
	ours, theirs := net.Pipe()
	x.pipes.conns <- from{theirs, address}
	synctest.Wait()
	read := bufio.NewReader(ours)
	return func(path string) *http.Response {
		if _, err := fmt.Fprintf(ours, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
			return nil
		}
		res, err := http.ReadResponse(read, nil)
		if err != nil {
			return nil
		}
		body, _ := io.ReadAll(res.Body)
		res.Body = io.NopCloser(bytes.NewReader(body))
		return res
	}, ours.Close
}

// An address that holds all the connections it may have shuts nobody out, and can still ask for
// health.
func TestAnAddressHasItsShareOfConnections(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Limits = Limits{Connections: 6, Requests: 2} }, func(x *fixture) {
		var greedy []func() error
		for range 3 {
			ask, close := x.arrive("10.0.0.66")
			if res := ask("/v1/digest"); res == nil || res.StatusCode != 200 {
				t.Fatalf("within its share: %v", res)
			}
			greedy = append(greedy, close)
		}
		status := func(address, path string) (int, string) {
			ask, close := x.arrive(address)
			defer close()
			res := ask(path)
			if res == nil {
				return 0, ""
			}
			var p Problem
			_ = json.NewDecoder(res.Body).Decode(&p) // health has none
			return res.StatusCode, p.Code
		}
		if s, code := status("10.0.0.66", "/v1/digest"); s != 429 || code != "too-many-requests" {
			t.Errorf("beyond its share: %d %s", s, code)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if s, _ := status("10.0.0.66", path); s != 200 {
				t.Errorf("%s beyond its share: %d", path, s)
			}
		}
		for i := range 3 {
			_, close := x.arrive(fmt.Sprint("10.0.1.", i))
			greedy = append(greedy, close)
		}
		if s, code := status("10.0.0.7", "/v1/digest"); s != 503 || code != "busy" {
			t.Errorf("when all are taken: %d %s", s, code)
		}
		if s, _ := status("10.0.0.7", "/healthz"); s != 200 {
			t.Errorf("health when all are taken: %d", s)
		}
		var spare []func() error
		for range spareEach {
			_, close := x.arrive("10.0.0.66")
			spare = append(spare, close)
		}
		if s, _ := status("10.0.0.66", "/healthz"); s != 0 || x.server.Stats().Refused["connections"] != 1 {
			t.Errorf("beyond the spare ones: %d, %v", s, x.server.Stats().Refused)
		}
		if s, _ := status("10.0.0.7", "/healthz"); s != 200 {
			t.Errorf("another address has no spare one: %d", s)
		}
		synctest.Wait() // until what status closed is gone
		if n := x.server.Stats().Connections; n != 6+spareEach {
			t.Errorf("%d connections", n)
		}
		for _, close := range slices.Concat(greedy, spare) {
			close()
		}
		synctest.Wait()
		if s, _ := status("10.0.0.66", "/v1/digest"); s != 200 || x.server.Stats().Connections > 1 {
			t.Errorf("after all is closed: %d, %d connections", s, x.server.Stats().Connections)
		}
	})
}
