package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// refuses returns a handler that answers with a problem.
func refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(httpapi.Problem{Status: status, Code: code, Detail: code})
	}
}

// breaksOff is a handler that closes the connection without an answer.
func breaksOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// poolOf returns a client of several daemons, one for each handler; for nil there is no daemon.
func poolOf(t *testing.T, daemons ...http.HandlerFunc) *Client {
	var addrs []string
	for _, answer := range daemons {
		s := httptest.NewServer(answer)
		if answer == nil {
			s.Close()
		} else {
			t.Cleanup(s.Close)
		}
		addrs = append(addrs, s.Listener.Addr().String())
	}
	c := &Client{Addr: strings.Join(addrs, ", "), Timeout: time.Minute}
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// A request that names a lease goes on at another daemon, whatever became of it at the first.
// Any other request goes there only if the first daemon has not received it.
func TestAnotherDaemonIsAsked(t *testing.T) {
	for _, c := range []struct {
		name           string
		first          http.HandlerFunc
		bearer, others bool // the request goes on, with a lease and without
	}{
		{"none is there", nil, true, true},
		{"it breaks off", breaksOff, true, false},
		{"it stops", refuses(503, "closed"), true, false},
		{"no majority", refuses(503, "no-majority"), true, false},
		{"it says no", refuses(409, "not-holder"), false, false},
	} {
		for _, bears := range []bool{true, false} {
			var asked atomic.Int32
			daemon := poolOf(t, c.first, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
			daemon.bearing = bears
			err := daemon.Do(t.Context(), "POST", "/v1/locks/k", nil, nil, nil, nil)
			if want := bears && c.bearer || c.others; want != (err == nil) || want != (asked.Load() == 1) {
				t.Errorf("%s, bears %v: %v, asked %d times", c.name, bears, err, asked.Load())
			}
			if next := daemon.Do(t.Context(), "POST", "/v1/locks/k", nil, nil, nil, nil); Passing(err) && next != nil {
				t.Errorf("%s, bears %v: the next request does not go to the other daemon: %v", c.name, bears, next)
			}
		}
	}
}

func TestWhatNoDaemonDoesIsSaidOnce(t *testing.T) {
	c := poolOf(t, nil, nil, refuses(503, "closed"))
	err := c.Bearer().Do(t.Context(), "PUT", "/v1/locks/k", nil, nil, nil, nil)
	var e *command.ExitError
	if !errors.As(err, &e) || e.Code != api.ExitUnhealthy || !strings.HasPrefix(err.Error(), "none of 127.0.0.1:") || !Stopping(err) {
		t.Errorf("%v", err)
	}
}
