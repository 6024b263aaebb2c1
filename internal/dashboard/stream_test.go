package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// stream is a stream of events that a test reads.
type stream struct {
	head http.Header
	out  chan string
}

func (s *stream) Header() http.Header { return s.head }

func (s *stream) WriteHeader(int) {}

func (s *stream) Flush() {}

func (s *stream) SetWriteDeadline(time.Time) error { return nil }

func (s *stream) Write(b []byte) (int, error) {
	s.out <- string(b)
	return len(b), nil
}

func (x *fixture) open(ctx context.Context, path string) (*stream, chan struct{}) {
	s, ended := &stream{http.Header{}, make(chan string, 100)}, make(chan struct{})
	r := httptest.NewRequest("GET", path, nil).WithContext(api.WithGrant(ctx, x.grant))
	go func() {
		defer close(ended)
		x.ServeHTTP(s, r)
	}()
	return s, ended
}

func TestAStreamSendsWhatChangesAndNothingElse(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		ctx, cancel := context.WithCancel(x.Context())
		s, ended := x.open(ctx, "/ui/stream?page=keys&query="+url.QueryEscape("q=fresh"))
		if retry := <-s.out; !strings.HasPrefix(retry, "retry: 1000\n\n") {
			t.Errorf("%q", retry)
		}
		if first := <-s.out; !strings.HasPrefix(first, "event: renew\ndata: {") || !strings.Contains(first, `"verdict"`) || !strings.Contains(first, `"live"`) {
			t.Fatalf("first: %s", first)
		}
		time.Sleep(10 * time.Second)
		if n := len(s.out); n != 0 {
			t.Errorf("%d events though nothing changed: %s", n, <-s.out)
		}
		time.Sleep(10 * time.Second)
		if hb := <-s.out; !strings.HasPrefix(hb, ":") {
			t.Errorf("want a comment: %s", hb)
		}
		x.must(x.peers[0].Put(x.Context(), "a/fresh", 1))
		if e := <-s.out; !strings.Contains(e, "a/fresh") || strings.Contains(e, `"verdict"`) {
			t.Errorf("after a write: %s", e)
		}
		cancel()
		<-ended

		for range maxStreams {
			x.streams <- struct{}{}
		}
		x.get(503, "/ui/stream?page=keys")
	})
}

func TestStreamsEndWithTheDashboard(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		ctx, cancel := context.WithCancel(x.Context())
		x.Dashboard = New(ctx, Config{Agent: x.peers[0]})
		s, ended := x.open(x.Context(), "/ui/stream?page=events")
		<-s.out
		cancel()
		<-ended
	})
}

func TestWhoMaySeeAnEvent(t *testing.T) {
	var d Dashboard
	f := func(kind agent.EventType, name string, want api.Right) {
		t.Helper()
		if got := d.happened(agent.LifecycleEvent{Type: kind, Name: name}).right; got != want {
			t.Errorf("%s %s: %v, want %v", kind, name, got, want)
		}
	}
	f(agent.PeerLeft, "n2", api.Right{})
	f(agent.LockLost, "deploy", api.Right{Verb: api.Lock, Key: "deploy"})
	f(agent.LockLapsed, "deploy", api.Right{Verb: api.Lock, Key: "deploy"})
	f(agent.Lagged, "secret/**", api.Right{Verb: api.Read, Key: api.Everything})
	f(agent.ItemDead, "mail/7", api.Right{Verb: api.Read, Key: "task-sentinel/queues/mail/7"})
}

func TestEventsAreRecordedWhileSomebodyLooksAndSoManyASecond(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		put := func(n int) {
			for i := range n {
				x.must(x.peers[0].Put(x.Context(), fmt.Sprintf("k/%d", i), i))
			}
		}
		put(10)
		x.has("/ui/events", "0 events since")
		put(20_000)
		time.Sleep(time.Second)
		e := &x.events
		e.mu.Lock()
		if e.dropped == 0 || e.seen > 12*burst || e.seen+e.dropped < 20_000 || len(e.list) > 2*keptEvents {
			t.Errorf("%d taken, %d dropped, %d kept", e.seen, e.dropped, len(e.list))
		}
		e.mu.Unlock()
		x.has("/ui/events", "dropped")
		time.Sleep(2 * linger)
		e.mu.Lock()
		if !e.began.IsZero() || e.list != nil {
			t.Error("the recording goes on though nobody looks")
		}
		e.mu.Unlock()
		x.has("/ui/events", "0 events since")
	})
}
