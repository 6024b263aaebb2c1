package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// interrupted returns a client of a daemon that grants a lock and an item, and does not answer
// one request: stop ends the caller there. What was given back comes out of the channel.
func interrupted(t *testing.T, request string, stop func()) (*client, <-chan string) {
	given := make(chan string, 1)
	lease := api.Lease{Lease: "l", Held: api.Held{Token: 1, Remaining: api.Duration(time.Minute), Guarantee: lockservice.ThisPeer.String()}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not hear that the client is gone
		var answer any = struct{}{}
		switch r.Method + " " + r.URL.Path {
		case request:
			stop()
			<-r.Context().Done()
			return
		case "POST /v1/locks/k", "PUT /v1/locks/k":
			answer = lease
		case "POST /v1/queues/q/claim":
			answer = api.List[api.Claimed]{Items: []api.Claimed{{ID: "i", Token: 1, Lease: "l"}}}
		case "DELETE /v1/locks/k", "POST /v1/queues/q/items/i/fail":
			given <- r.URL.Path
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	return &client{addr: strings.TrimPrefix(s.URL, "http://"), timeout: time.Minute, output: "table", out: t.Output()}, given
}

func givenBack(t *testing.T, given <-chan string) {
	t.Helper()
	select {
	case <-given:
	default:
		t.Error("what was granted is not given back, and nobody's until its time is over")
	}
}

func TestALockIsReleasedThatCameWithASignal(t *testing.T) {
	for _, request := range []string{"PUT /v1/locks/k", "GET /v1/stats"} { // the first renewal, and what comes after it
		signals := make(chan os.Signal, 1)
		c, given := interrupted(t, request, func() { signals <- syscall.SIGTERM })
		run := lockRun{client: c, name: "k", ttl: time.Minute}
		if lease, err := run.acquire(t.Context(), signals); lease != nil || err == nil || !strings.Contains(err.Error(), "while waiting") {
			t.Errorf("%s: %+v, %v", request, lease, err)
		}
		givenBack(t, given)
	}
}

func TestAnItemIsGivenBackThatCameWithASignal(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c, given := interrupted(t, "POST /v1/queues/q/items/i/extend", stop)
	w := work{client: c, queue: "q", argv: []string{"false"}, ttl: time.Minute}
	if err := w.run(ctx); err != nil {
		t.Error(err)
	}
	givenBack(t, given)
}
