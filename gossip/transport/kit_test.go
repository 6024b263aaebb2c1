package transport

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// got is a frame as the inbox took it.
type got struct {
	frame []byte
	via   Path
}

// peer is a transport with an inbox a test can wait on.
type peer struct {
	*Memberlist
	t     testing.TB
	inbox chan got

	mu      sync.Mutex
	members []Member
	changed chan struct{}
}

// testLog writes to the test's own log; lines after its end are lost.
func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func openPeer(t testing.TB, id string, change func(*Config)) *peer {
	t.Helper()
	p := newPeer(t)
	cfg := Config{
		Cluster: "test", ID: id, Bind: "127.0.0.1:0", Logger: testLog(t),
		Inbox: p.take, OnMembers: p.see,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open %s: %v", id, err)
	}
	p.Memberlist = m
	t.Cleanup(func() {
		began := time.Now()
		if err := m.Close(); err != nil {
			t.Errorf("close %s: %v", id, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("close %s took %v: it waited for somebody", id, took)
		}
	})
	return p
}

func newPeer(t testing.TB) *peer {
	return &peer{t: t, inbox: make(chan got, 1<<14), changed: make(chan struct{}, 1)}
}

func (p *peer) take(frame []byte, via Path) { p.inbox <- got{frame, via} }

func (p *peer) see(all []Member) {
	p.mu.Lock()
	p.members = all
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// patienceFor bounds every wait of a test.
const patienceFor = 20 * time.Second

// await waits until the member list satisfies ok.
func (p *peer) await(what string, ok func([]Member) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patienceFor)
	defer cancel()
	for !ok(p.Members()) {
		select {
		case <-p.changed:
		case <-ctx.Done():
			p.t.Fatalf("%s: waited %v for %s; members: %v", p.cfg.ID, patienceFor, what, p.Members())
		}
	}
}

func alive(n int) func([]Member) bool {
	return func(all []Member) bool {
		found := 0
		for _, m := range all {
			if m.State == Alive {
				found++
			}
		}
		return found == n
	}
}

func stateOf(id string, want State) func([]Member) bool {
	return func(all []Member) bool {
		for _, m := range all {
			if m.ID == id {
				return m.State == want
			}
		}
		return false
	}
}

func (p *peer) next(want []byte, via Path) {
	p.t.Helper()
	select {
	case g := <-p.inbox:
		if g.via != via || !bytes.Equal(g.frame, want) {
			p.t.Fatalf("%s took %d bytes by %v, want %d by %v", p.cfg.ID, len(g.frame), g.via, len(want), via)
		}
	case <-time.After(patienceFor):
		p.t.Fatalf("%s took nothing; want %d bytes by %v", p.cfg.ID, len(want), via)
	}
}

// until waits for a condition that nothing announces.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patienceFor)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patienceFor, what)
		}
	}
}

// cluster opens n peers that know each other.
func cluster(t testing.TB, n int, change func(*Config)) []*peer {
	t.Helper()
	var all []*peer
	for i := range n {
		all = append(all, openPeer(t, fmt.Sprintf("p%d", i), func(c *Config) {
			if i > 0 {
				c.Seeds = []string{all[0].LocalAddr()}
			}
			if change != nil {
				change(c)
			}
		}))
	}
	for _, p := range all {
		p.await("everyone", alive(n))
	}
	return all
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func withKey(c *Config) { c.Keys = [][]byte{testKey} }

// noLeaks closes what the test opened, then looks for goroutines. A probe of
// memberlist may outlive it by its own timeout.
func noLeaks(t *testing.T) {
	old := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for began := time.Now(); time.Since(began) < 10*time.Second; {
			if err = goleak.Find(old); err == nil {
				return
			}
		}
		t.Error(err)
	})
}

// unproven counts the connections that hold a place.
func (m *mux) unproven() int {
	m.places.mu.Lock()
	defer m.places.mu.Unlock()
	return m.places.taken
}
