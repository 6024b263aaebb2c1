package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lock takes a lock and returns the lease.
func (x *fixture) lock(path, body string) (g api.Lease) {
	x.t.Helper()
	if err := json.Unmarshal([]byte(x.must(200, "POST", "/v1/locks/"+path, body).body), &g); err != nil {
		x.t.Fatal(err)
	}
	return g
}

func TestALockOverHTTP(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		g := x.lock("jobs%2Fnightly", `{"ttl":"2s"}`)
		if left := time.Duration(g.Remaining); left > 2*time.Second || left < 1500*time.Millisecond || g.Token == 0 || len(g.Lease) < 20 || g.Guarantee != "this-peer" {
			x.t.Errorf("granted %+v", g)
		}
		x.refused("held", x.must(409, "POST", "/v1/locks/jobs/nightly", ""))
		began := time.Now()
		x.refused("held", x.must(409, "POST", "/v1/locks/jobs/nightly", `{"wait":"1s"}`), "waited 1s")
		if d := time.Since(began); d < time.Second {
			x.t.Errorf("waited %v", d)
		}
		time.Sleep(500 * time.Millisecond)
		var again api.Lease
		body := x.must(200, "PUT", "/v1/locks/jobs/nightly", lease(g)).body
		if err := json.Unmarshal([]byte(body), &again); err != nil || again.Token != g.Token || again.Lease != g.Lease || again.Remaining != g.Remaining {
			x.t.Errorf("renewed %s, %v", body, err)
		}
		var info api.LockInfo
		body = x.must(200, "GET", "/v1/locks/jobs%2Fnightly", "").body
		if err := json.Unmarshal([]byte(body), &info); err != nil || len(info.Holders) != 1 || info.Holders[0].Peer != "n1" || info.Holders[0].Token != g.Token || !info.Certain {
			x.t.Errorf("inspected %s, %v", body, err)
		}
		if list := x.must(200, "GET", "/v1/locks", "").body; !strings.Contains(list, `"lock":"jobs/nightly","holders":[{"peer":"n1","client":"pipe"`) || strings.Contains(list, g.Lease) {
			x.t.Errorf("listed %s", list)
		}
		x.refused("not-holder", x.must(409, "PUT", "/v1/locks/other", lease(g)))
		x.refused("not-holder", x.must(409, "DELETE", "/v1/locks/jobs/nightly", `{"lease":"guess"}`))
		x.must(204, "DELETE", "/v1/locks/jobs/nightly?lease="+g.Lease, "")
		x.refused("not-holder", x.must(409, "DELETE", "/v1/locks/jobs/nightly", lease(g)))
		if list := x.must(200, "GET", "/v1/locks", "").body; !strings.HasPrefix(list, `{"items":[],`) {
			x.t.Errorf("listed %s", list)
		}

		next := x.lock("jobs/nightly", `{"ttl":"2s"}`)
		if next.Token <= g.Token {
			x.t.Errorf("token %d after %d", next.Token, g.Token)
		}
		time.Sleep(3 * time.Second) // the client has vanished, so the lease ends and no voter has it on record
		x.refused("not-holder", x.must(409, "PUT", "/v1/locks/jobs/nightly", lease(next)))
		x.lock("jobs/nightly", "")
	})
}

func lease(g api.Lease) string { return fmt.Sprintf(`{"lease":%q}`, g.Lease) }

func TestReadersOverHTTPShare(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.lock("k", `{"shared":true}`)
		x.lock("k", `{"shared":true,"ttl":"1s"}`)
		x.refused("held", x.must(409, "POST", "/v1/locks/k", `{}`))
		if list := x.must(200, "GET", "/v1/locks?limit=1", "").body; strings.Count(list, `"shared":true`) != 2 {
			x.t.Errorf("listed %s", list)
		}
	})
}

// A wait may last longer than other requests.
func TestAWaitOutlastsTheUsualDeadlines(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		g := x.lock("k", "")
		began := time.Now()
		sent := make(chan answer)
		go func() { sent <- x.send("POST", "/v1/locks/k", `{"wait":"10m"}`) }()
		for time.Since(began) < 3*callTimeout {
			time.Sleep(3 * time.Second)
			x.must(200, "PUT", "/v1/locks/k", lease(g))
		}
		x.must(204, "DELETE", "/v1/locks/k", lease(g))
		if a := <-sent; a.status != 200 || time.Since(began) < 3*callTimeout {
			x.t.Errorf("after %v: %d %s", time.Since(began), a.status, a.body)
		}
	})
}

func TestAWaiterThatGoesGivesItsPlaceUp(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		g := x.lock("k", "")
		ctx, cancel := context.WithCancel(x.t.Context())
		gone := make(chan error)
		go func() {
			req, err := http.NewRequestWithContext(ctx, "POST", base+"/v1/locks/k", strings.NewReader(`{"wait":"10m"}`))
			if err == nil {
				_, err = x.client.Do(req)
			}
			gone <- err
		}()
		time.Sleep(time.Second)
		if n := x.agent.Locks().Stats().Waiting; n != 1 {
			x.t.Errorf("%d wait", n)
		}
		cancel()
		<-gone
		synctest.Wait()
		if n := x.agent.Locks().Stats().Waiting; n != 0 {
			x.t.Errorf("gone, and %d wait", n)
		}
		x.must(204, "DELETE", "/v1/locks/k", lease(g))
		x.lock("k", "")
	})
}

func TestADrainSendsWaitersAway(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.lock("k", "")
		sent := make(chan answer)
		for _, path := range []string{"/v1/locks/k", "/v1/queues/q/claim"} {
			go func() { sent <- x.send("POST", path, `{"wait":"10m"}`) }()
		}
		time.Sleep(time.Second)
		began := time.Now()
		x.server.drain()
		for range 2 {
			if a := <-sent; a.status != 503 || !strings.Contains(a.body, `"code":"closed"`) || time.Since(began) > 5*time.Second {
				x.t.Errorf("after %v: %d %s", time.Since(began), a.status, a.body)
			}
		}
	})
}

func TestLocksWithoutAMajoritySayWhatIsLacking(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		v := lockservice.Voters{Epoch: 2, Names: []string{"n1", "n2"}}
		if err := x.agent.Locks().Reload(v); err != nil {
			x.t.Fatal(err)
		}
		for _, ask := range [][]string{{"POST", `{"wait":"2s"}`}, {"POST", ""}} {
			a := x.must(503, ask[0], "/v1/locks/k", ask[1])
			x.refused("no-majority", a)
			if !strings.Contains(a.body, `"reachable":1,"needed":2`) {
				x.t.Errorf("%s %s", ask[0], a.body)
			}
		}
		if got := x.must(200, "GET", "/v1/locks/k", "").body; !strings.Contains(got, `"source":"here"`) {
			x.t.Errorf("what is known here without a majority: %s", got)
		}
	})
}

func TestBadLocksAreNamed(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		for _, bad := range []struct{ code, method, path, body, detail string }{
			{"bad-ttl", "POST", "k", `{"ttl":"1ms"}`, "500ms to 15s"},
			{"bad-ttl", "POST", "k", `{"ttl":"1h"}`, "500ms to 15s"},
			{"bad-request", "POST", "k", `{"ttl":"soon"}`, "want a duration"},
			{"bad-request", "POST", "k", `{"wait":"-1s"}`, "0s to 24h"},
			{"bad-request", "POST", "k", `{"wait":"25h"}`, "0s to 24h"},
			{"bad-request", "POST", "k", `{"shared":1}`, "shared"},
			{"bad-request", "POST", "k", `{"tll":"2s"}`, "tll"},
			{"bad-request", "PUT", "k", `{}`, "with the lease in the answer"},
			{"bad-request", "DELETE", "k", ``, "with the lease in the answer"},
			{"bad-lock-name", "POST", "a%23b", ``, "'#' is not allowed"},
			{"bad-lock-name", "POST", strings.Repeat("x", 257), ``, "allowed are 256"},
			{"bad-lock-name", "GET", "a%0Ab", ``, "not allowed"},
			{"bad-key", "POST", "", ``, "segment"},
		} {
			x.refused(bad.code, x.must(400, bad.method, "/v1/locks/"+bad.path, bad.body), bad.detail)
		}
		if list := x.must(200, "GET", "/v1/locks", "").body; !strings.HasPrefix(list, `{"items":[],`) {
			x.t.Errorf("refused, and held: %s", list)
		}
	})
}
