package httpapi

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hold mounts a page that answers when it is let go.
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

func TestOnlySoManyConnections(t *testing.T) {
	serving(t, func(cfg *Config) { cfg.Limits = Limits{Connections: 2} }, func(x *fixture) {
		x.must(200, "GET", "/v1/keys", "") // one, which stays open
		two, err := x.pipes.dial(x.t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		three, err := x.pipes.dial(x.t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := three.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("one too many: %v", err)
		}
		if s := x.server.Stats(); s.Connections != 2 || s.Refused["connections"] != 1 {
			t.Errorf("%+v", s)
		}
		two.Close()
		synctest.Wait()
		four, err := x.pipes.dial(x.t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer four.Close()
		synctest.Wait()
		if s := x.server.Stats(); s.Connections != 2 {
			t.Errorf("%+v", s)
		}
	})
}
