package hold

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// leaseAt returns a lease of a daemon that answers every request by a function.
func leaseAt(t *testing.T, ttl time.Duration, answer func(w http.ResponseWriter)) *heldLease {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	t.Cleanup(s.Close)
	return &heldLease{Client: &client.Client{Addr: strings.TrimPrefix(s.URL, "http://"), Timeout: time.Minute}, method: "PUT", path: "/v1/locks/k", ttl: ttl}
}

// The remaining time counts from before the daemon was asked, so that a late answer does not
// prolong the lease.
func TestALeaseCountsFromWhenItWasAskedFor(t *testing.T) {
	var answered time.Duration
	remaining := time.Hour
	l := leaseAt(t, time.Hour, func(w http.ResponseWriter) {
		answered = boottime()
		_ = json.NewEncoder(w).Encode(api.Lease{Held: api.Held{Remaining: api.Duration(remaining)}})
	})
	before := boottime()
	if err := l.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.deadline < before+remaining || l.deadline > answered+remaining {
		t.Errorf("a deadline %v after it was asked for; the daemon answered after %v with %v", l.deadline-before, answered-before, remaining)
	}
	was := l.deadline
	remaining = time.Minute
	if err := l.renew(t.Context()); err != nil || l.deadline != was {
		t.Errorf("an older answer moved the deadline by %v, %v", l.deadline-was, err)
	}
}

func TestALeaseIsOverWhenItsDaemonSaysSoOrAtItsDeadline(t *testing.T) {
	l := leaseAt(t, 30*time.Millisecond, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(httpapi.Problem{Code: "not-holder", Detail: "gone"})
	})
	l.deadline = boottime() + time.Hour
	if err := l.keep(t.Context()); !errors.Is(err, errEnded) {
		t.Errorf("refused: %v", err)
	}
	l = leaseAt(t, 30*time.Millisecond, func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	l.deadline = boottime() + 100*time.Millisecond
	if err := l.keep(t.Context()); !errors.Is(err, errDeadline) || boottime() < l.deadline {
		t.Errorf("without a majority: %v, %v before the deadline", err, l.deadline-boottime())
	}
}
