package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

func TestStoppingEndsStreamsAndFinishesRequests(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		e := x.watch("match=**")
		e.expect(": watching")
		conn, err := x.pipes.dial(x.t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n12")
		synctest.Wait()
		done := make(chan error)
		go func() { done <- x.server.Close(x.t.Context()) }()
		time.Sleep(time.Second)
		e.expect("EOF")
		e.body.Close()
		fmt.Fprint(conn, "34")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != 201 {
			t.Errorf("%v, %v", res, err)
		}
		conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if v, _ := x.agent.Get("k"); v.String() != "1234" {
			t.Errorf("got %s", v)
		}
		x.server.served <- nil // for the fixture's own Close
	})
}

func TestSlowAndHugeHeadersAreCutOff(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		open := func() net.Conn {
			conn, err := x.pipes.dial(x.t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		slow := open()
		go io.Copy(io.Discard, slow)
		began := time.Now()
		for time.Since(began) < time.Minute {
			if _, err := slow.Write([]byte("GET /healthz HTTP/1.1\r\nX-A: b\r\n"[int(time.Since(began).Seconds())%30:][:1])); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a header of a byte a second lived for %v", took)
		}
		body := open()
		began = time.Now()
		fmt.Fprint(body, "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
		go func() {
			for {
				if _, err := body.Write([]byte("1")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		got, err := io.ReadAll(body)
		if took := time.Since(began); took > 40*time.Second || !bytes.Contains(got, []byte("incomplete-body")) {
			t.Errorf("a body of a byte a second lived for %v: %s, %v", took, got, err)
		}
		body.Close()
		huge := open()
		go func() {
			fmt.Fprintf(huge, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: %s\r\n\r\n", strings.Repeat("a", 2*maxHeader))
		}()
		res, err := http.ReadResponse(bufio.NewReader(huge), nil)
		if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v, %v", res, err)
		}
		huge.Close()
	})
}

// A handler that panics affects only its own request. The panic is logged and counted.
func TestAPanicIsAnsweredLoggedAndCounted(t *testing.T) {
	var log bytes.Buffer
	panics := 0
	half := false
	tune := func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		c.Panicked = func() { panics++ }
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if half {
				fmt.Fprintln(w, "half an ans")
				http.NewResponseController(w).Flush()
			}
			panic("out of ideas")
		})
	}
	serving(t, tune, func(x *fixture) {
		x.refused("internal", x.must(500, "GET", "/metrics", ""), "out of ideas")
		for _, want := range []string{"level=ERROR", "out of ideas", "path=/metrics", "stop_test.go"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not hold %q:\n%s", want, log.String())
			}
		}
		half = true
		res, err := x.client.Get(base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("half an answer looks whole")
		}
		if panics != 2 {
			t.Errorf("counted %d panics", panics)
		}
		x.must(200, "GET", "/healthz", "")
	})
}

func TestAClosedAgentSaysSo(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		if err := x.agent.Close(x.t.Context()); err != nil {
			t.Fatal(err)
		}
		x.refused("closed", x.must(503, "PUT", "/v1/keys/k", "1"))
		x.refused("closed", x.must(503, "GET", "/v1/watch", ""))
		x.refused("not-ready", x.must(503, "GET", "/readyz", ""))
	})
}

// While a voter that has restarted is not ready, a rollout waits for it; its requests are served
// nevertheless. A voter that starts for the first time is ready at once.
func TestAVoterThatHasRestartedIsReadyOnceItKnowsAllLeases(t *testing.T) {
	dir := t.TempDir()
	for _, restart := range []bool{false, true} {
		var voter *agent.Agent
		serving(t, func(c *Config) {
			l, err := memnet.New(1).Listen("10.0.0.1:7946")
			if err != nil {
				t.Fatal(err)
			}
			voter, err = agent.Open(context.Background(), agent.Config{Name: "n1", Cluster: "test", Bind: "10.0.0.1:7946", Network: l,
				Locks: agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, StateDir: dir}})
			if err != nil {
				t.Fatal(err)
			}
			c.Agent = voter
		}, func(x *fixture) {
			if restart {
				x.refused("voter-fresh", x.must(503, "GET", "/readyz", ""), "has restarted", "for 21s more", "requests are served")
				x.must(201, "PUT", "/v1/keys/k", "1")
				time.Sleep(20 * time.Second)
				x.must(503, "GET", "/readyz", "")
				time.Sleep(time.Second)
			}
			x.must(200, "GET", "/readyz", "")
			if err := voter.Close(context.Background()); err != nil {
				x.t.Error(err)
			}
		})
	}
}
