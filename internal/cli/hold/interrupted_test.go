package hold

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// interrupted returns a client of a daemon that grants a lock and an item. The daemon does not
// answer one request; it calls stop instead. The channel gets what the client gives back.
func interrupted(t *testing.T, request string, stop func()) (*client.Client, <-chan string) {
	given := make(chan string, 1)
	lease := api.Lease{Lease: "l", Held: api.Held{Token: 1, Remaining: api.Duration(time.Minute), Guarantee: lockservice.ThisPeer.String()}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client is gone
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
	return &client.Client{Addr: strings.TrimPrefix(s.URL, "http://"), Timeout: time.Minute, Output: "table", Out: t.Output()}, given
}

func givenBack(t *testing.T, given <-chan string) {
	t.Helper()
	select {
	case <-given:
	default:
		t.Error("what was granted is not given back: nobody has it until its TTL is over")
	}
}
