package agent

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A probe of memberlist that is under way at Close ends by itself within a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// open starts a peer on loopback, and closes it at the end of the test.
func open(t testing.TB, cfg Config) *Agent {
	t.Helper()
	cfg.Cluster = "test"
	a, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Logf("close %s: %v", cfg.Name, err)
		}
	})
	return a
}

// trio starts three peers, and waits until they know each other.
func trio(t testing.TB, tune func(*Config)) []*Agent {
	t.Helper()
	var peers []*Agent
	for i := range 3 {
		cfg := Config{Name: fmt.Sprintf("n%d", i+1), BatchInterval: AtOnce}
		if i > 0 {
			cfg.Seeds = []string{peers[0].Addr()}
		}
		if tune != nil {
			tune(&cfg)
		}
		peers = append(peers, open(t, cfg))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, p := range peers {
		events := p.Events(ctx)
		for alive(p) < 3 {
			select {
			case <-events.C:
			case <-ctx.Done():
				t.Fatalf("%s sees %d of 3 peers", p.Name(), alive(p))
			case <-time.After(50 * time.Millisecond): // a peer may have joined before Events was called
			}
		}
		if err := p.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return peers
}

func alive(a *Agent) int { return a.Stats().Members["alive"] }

// next returns the next event, and fails if none comes in time.
func next(t testing.TB, s *Subscription) Event {
	t.Helper()
	select {
	case e, ok := <-s.C():
		if !ok {
			t.Fatal("the subscription ended")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event within 10 s")
	}
	panic("unreachable")
}

func TestOneWriteBecomesOneEventOnEveryPeer(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	peers := trio(t, func(c *Config) { c.Keys = [][]byte{key} })
	var subs []*Subscription
	for _, p := range peers {
		s, err := p.Watch(t.Context(), "tasks/**")
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, s)
	}
	if err := peers[0].Put(t.Context(), "tasks/42", map[string]any{"status": "running"}); err != nil {
		t.Fatal(err)
	}
	for i, s := range subs {
		e := next(t, s)
		if e.Key != "tasks/42" || e.Cause != CausePut || e.Writer != "n1" || e.Local != (i == 0) || e.New.String() != `{"status":"running"}` {
			t.Errorf("peer %d: %+v", i+1, e)
		}
	}
	if err := peers[0].WaitReplicated(t.Context(), 2); err != nil {
		t.Error(err)
	}
}

func TestAStormOfWritesArrivesWhole(t *testing.T) {
	peers := trio(t, nil)
	const n = 20000
	for i := range n {
		if err := peers[i%3].Put(t.Context(), fmt.Sprintf("k/%d", i), i); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peers {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := p.WaitReplicated(ctx, 2); err != nil {
			t.Error(err)
		}
		cancel()
	}
	want, _ := peers[0].Digest()
	for _, p := range peers {
		if hash, keys := p.Digest(); keys != n || hash != want {
			t.Errorf("%s: %d keys, digest %s, want %d and %s", p.Name(), keys, hash, n, want)
		}
	}
}
