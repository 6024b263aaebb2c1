package agent

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// calling is a log handler that calls a function with each record.
type calling struct {
	slog.Handler
	f func(slog.Record)
}

func (c calling) Enabled(context.Context, slog.Level) bool { return true }
func (c calling) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c calling) WithGroup(string) slog.Handler            { return c }
func (c calling) Handle(_ context.Context, r slog.Record) error {
	c.f(r)
	return nil
}

// A log handler may read, write and lock, even for a line that was logged with a mutex held.
func TestALogHandlerMayCallTheAgent(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		var mu sync.Mutex
		var heard []string
		var a *Agent
		ready := make(chan struct{})
		handler := func(r slog.Record) {
			<-ready
			mu.Lock()
			heard = append(heard, r.Message)
			mu.Unlock()
			if err := a.Put(context.Background(), "log/last", r.Message); err != nil && !a.mem.Closed() {
				t.Errorf("a handler cannot put: %v", err)
			}
			a.Members()
			a.Stats()
			a.Locks().Stats()
			if l, err := a.Locks().TryLock(context.Background(), "log"); err == nil {
				_ = l.Unlock(context.Background())
			}
		}
		a = virtual(t, n, 0, func(c *Config) {
			c.Logger = slog.New(calling{f: handler})
			c.Locks.Voters = []string{"n0"}
			c.Locks.FirstBoot = true
		})
		close(ready)
		other := virtual(t, n, 1, func(c *Config) { c.Locks.Voters = []string{"n0", "n1", "n2"} })
		time.Sleep(time.Second) // of two peers with one name, the first one counts
		virtual(t, n, 2, func(c *Config) { c.Name = "n1" })
		time.Sleep(5 * time.Second)
		a.inbox.receive([]byte{0x93, 1, 2, 3}, 0)
		a.onMembers([]transport.Member{{ID: "unreadable", State: transport.Alive, Meta: []byte{0xc1}}})
		if _, err := a.Locks().Lock(t.Context(), "short", lockservice.WithTTL(lockservice.LeastTTL), lockservice.WithBearer()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _ = other.Locks().Lock(short, "elsewhere") // asks n0, which has another list of voters
		if err := other.Close(t.Context()); err != nil {
			t.Log(err)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for _, want := range []string{"peer joined", "peer is gone", "frame refused", "peer has a problem", "member with unreadable meta",
			"lease over at this peer", "lock configuration differs"} {
			if !strings.Contains(strings.Join(heard, "\n"), want) {
				t.Errorf("nothing was logged of %q: %q", want, heard)
			}
		}
	})
}

// A handler that does not return loses its lines, but no lease is lost, no write waits and no peer
// leaves.
func TestALogHandlerThatBlocksHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		hold := make(chan struct{})
		a := virtual(t, n, 0, func(c *Config) {
			c.Logger = slog.New(calling{f: func(slog.Record) { <-hold }})
			c.Locks.Voters = []string{"n0"}
			c.Locks.FirstBoot = true
		})
		defer close(hold)
		lease, err := a.Locks().Lock(t.Context(), "kept", lockservice.WithTTL(lockservice.LeastTTL))
		if err != nil {
			t.Fatal(err)
		}
		b := virtual(t, n, 1, nil)
		time.Sleep(5 * time.Second)
		for range 5000 {
			a.log.Warn("one of many")
		}
		if a.Stats().LinesDropped == 0 {
			t.Error("lines beyond all bounds are kept")
		}
		for range 60 {
			if err := a.Put(t.Context(), "k", 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := lease.Err(); err != nil {
			t.Errorf("the lease: %v", err)
		}
		agreed(t, []*Agent{a, b})
		began := time.Now()
		if err := a.Close(t.Context()); err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}

// The handler has got the last lines when Close returns.
func TestCloseWaitsForTheLastLines(t *testing.T) {
	var last string
	a := open(t, Config{Name: "n1", Logger: slog.New(calling{f: func(r slog.Record) { last = r.Message }})})
	if err := a.Close(t.Context()); err != nil || last != "peer stopped" {
		t.Errorf("the last line is %q: %v", last, err)
	}
}
