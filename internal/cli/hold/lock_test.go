package hold

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// When a daemon stops, a waiter for a lock spends the rest of its wait at another.
func TestAWaiterGoesToAnotherDaemon(t *testing.T) {
	waits := make(chan string, 2)
	wait := func(r *http.Request) {
		var body struct{ Wait string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		waits <- body.Wait
	}
	stops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait(r)
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(httpapi.Problem{Status: http.StatusServiceUnavailable, Code: "closed", Detail: "it stops"})
	}))
	defer stops.Close()
	grants := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			wait(r)
		}
		_ = json.NewEncoder(w).Encode(api.Lease{Lease: "l", Held: api.Held{Token: 7, Remaining: api.Duration(time.Minute)}})
	}))
	defer grants.Close()
	c := &client.Client{Addr: stops.Listener.Addr().String() + "," + grants.Listener.Addr().String(), Timeout: time.Minute}
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := lockRun{Client: c, name: "k", ttl: time.Minute, wait: time.Hour}
	lease, err := run.ask(t.Context())
	if err != nil || lease.token != 7 {
		t.Fatal(lease, err)
	}
	first, second := <-waits, <-waits
	if rest, err := time.ParseDuration(second); first != "1h0m0s" || err != nil || rest >= time.Hour || rest < 50*time.Minute {
		t.Errorf("waits %s, then %s", first, second)
	}
}

func TestALockIsReleasedThatCameWithASignal(t *testing.T) {
	for _, request := range []string{"PUT /v1/locks/k", "GET /v1/stats"} { // the first renewal, and the request after it
		signals := make(chan os.Signal, 1)
		c, given := interrupted(t, request, func() { signals <- syscall.SIGTERM })
		run := lockRun{Client: c, name: "k", ttl: time.Minute}
		if lease, err := run.acquire(t.Context(), signals); lease != nil || err == nil || !strings.Contains(err.Error(), "while waiting") {
			t.Errorf("%s: %+v, %v", request, lease, err)
		}
		givenBack(t, given)
	}
}
