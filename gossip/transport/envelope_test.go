package transport

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// life is one process with an id and keys.
func life(t testing.TB, id string, keys ...[]byte) *envelopes {
	t.Helper()
	return newEnvelopes(mustIdentity(t, "test", id, keys...))
}

func (e *envelopes) mustSeal(t testing.TB, to, text string) []byte {
	t.Helper()
	b, err := e.seal(nil, to, kindFrame, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// opens demands that an envelope holds text, or is dropped for a reason.
func (e *envelopes) opens(t testing.TB, what string, b []byte, text string, want cause) {
	t.Helper()
	l, why := e.open(bytes.Clone(b))
	if why != want || why == causes && (l.Kind != kindFrame || string(l.Body) != text) {
		t.Errorf("%s: %+v, %d; want %q, %d", what, l, why, text, want)
	}
}

func TestAnEnvelopeOfAnotherClusterOrKeyIsNamed(t *testing.T) {
	other := bytes.Repeat([]byte{1}, 32)
	sealed, plain := life(t, "a", testKey), life(t, "a")
	foreign := newEnvelopes(mustIdentity(t, "other", "x"))
	sealed.opens(t, "another key", life(t, "x", other).mustSeal(t, "a", "boo"), "", refuseKey)
	sealed.opens(t, "no key", life(t, "x").mustSeal(t, "a", "boo"), "", refuseKey)
	sealed.opens(t, "another cluster", foreign.mustSeal(t, "a", "boo"), "", refuseCluster)
	plain.opens(t, "a key", life(t, "x", testKey).mustSeal(t, "a", "boo"), "", refuseKey)
	plain.opens(t, "another cluster", foreign.mustSeal(t, "a", "boo"), "", refuseCluster)
	plain.opens(t, "ours", life(t, "x").mustSeal(t, "a", "hello"), "hello", causes)
	plain.opens(t, "nothing", nil, "", refuseMalformed)
	sealed.opens(t, "little", []byte{envelope.Sealed}, "", refuseMalformed)
	plain.opens(t, "an old packet", []byte{244, 4, 't', 'e', 's', 't', 6, 0xFF, 0xFF, 0xFF, 0xFF}, "", refuseMalformed)
}

// tapped is a network whose packets a recorder sees.
type tapped struct {
	*sockets
	mu  *sync.Mutex
	all *[][]byte
}

func (w tapped) WriteTo(b []byte, addr string) (time.Time, error) {
	return w.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (w tapped) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	at, err := w.sockets.WriteToAddress(b, to)
	if err == nil { // what a closed socket did not send is fresh wherever it comes
		w.mu.Lock()
		*w.all = append(*w.all, bytes.Clone(b))
		w.mu.Unlock()
	}
	return at, err
}

// All packets of a run, replayed to everybody and to the next life of one, change nothing.
func TestARecorderChangesNothing(t *testing.T) {
	noLeaks(t)
	var mu sync.Mutex
	var recorded [][]byte
	open := func(id string, port int, seeds ...string) *peer {
		s, err := listen(netip.MustParseAddr("127.0.0.1"), port, testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		return openPeer(t, id, func(c *Config) { withKey(c); c.Seeds, c.Network = seeds, tapped{s, &mu, &recorded} })
	}
	a := open("a", 0)
	b := open("b", 0, a.LocalAddr())
	gone := open("gone", 0, a.LocalAddr())
	all := []*peer{a, b, gone}
	for _, p := range all {
		p.await("everyone", alive(3))
	}
	for _, p := range all {
		for _, to := range all {
			if p != to {
				send(t, p, to.cfg.ID, "from "+p.cfg.ID, Packet)
			}
		}
	}
	until(t, "the frames", func() bool { return len(a.inbox) == 2 && len(b.inbox) == 2 && len(gone.inbox) == 2 })
	if err := gone.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, p := range all[:2] {
		p.await("the goodbye", stateOf("gone", Left))
	}
	next := open("gone2", int(netip.MustParseAddrPort(gone.LocalAddr()).Port()), a.LocalAddr())
	all[2] = next
	for _, p := range all {
		p.await("the next life", alive(3))
	}

	mu.Lock()
	replay := slices.Clone(recorded)
	mu.Unlock()
	if len(replay) < 10 {
		t.Fatalf("%d packets are recorded", len(replay))
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	turnedAway := func(p *peer) int {
		s := p.Stats()
		return int(s.Drops["replayed"] + s.Refused["wrong_seal"])
	}
	for _, p := range all {
		before := turnedAway(p)
		for i, packet := range replay {
			if _, err := udp.WriteTo(packet, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.LocalAddr()))); err != nil {
				t.Fatal(err)
			}
			until(t, fmt.Sprint("packet ", i, " to be turned away by ", p.cfg.ID), func() bool { return turnedAway(p) > before+i })
		}
	}
	if len(a.inbox) != 2 || len(b.inbox) != 2 || len(next.inbox) != 0 {
		t.Errorf("%d, %d and %d frames were taken", len(a.inbox), len(b.inbox), len(next.inbox))
	}
	for _, p := range all {
		if !alive(3)(p.Members()) {
			t.Errorf("%s has members %v", p.cfg.ID, p.Members())
		}
	}
}

func BenchmarkEnvelope(b *testing.B) {
	from, to := life(b, "a", testKey), life(b, "b", testKey)
	message := bytes.Repeat([]byte{7}, MaxPacketBytes)
	var sealed []byte
	for b.Loop() {
		sealed, _ = from.seal(sealed[:0], "b", kindFrame, message)
		if _, why := to.open(sealed); why != causes {
			b.Fatal(why)
		}
	}
}

func TestAGoodbyeIsItsSenders(t *testing.T) {
	all := cluster(t, 3, withKey)
	at := memberlist.Address{Addr: all[0].LocalAddr(), Name: "p0"}
	if err := all[1].mux.send(at, kindBye, []byte("p2")); err != nil {
		t.Fatal(err)
	}
	until(t, "the lie to be dropped", func() bool { return all[0].Stats().Drops["unknown_kind"] == 1 })
	if err := all[1].mux.send(at, kindBye, []byte("p1")); err != nil {
		t.Fatal(err)
	}
	until(t, "the truth to be taken", func() bool {
		return all[0].Memberlist.members.NotifyAlive(&memberlist.Node{Name: "p1"}) != nil
	})
	if all[0].Memberlist.members.NotifyAlive(&memberlist.Node{Name: "p2"}) != nil {
		t.Error("p2 left, by the word of p1")
	}
}
