package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
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
	if why != want || why == causes && (l.kind != kindFrame || string(l.body) != text) {
		t.Errorf("%s: %+v, %d; want %q, %d", what, l, why, text, want)
	}
}

// A recorder has every envelope and no key.
func TestAnEnvelopeIsForOneLifeOnce(t *testing.T) {
	a, b, c := life(t, "a", testKey), life(t, "b", testKey), life(t, "c", testKey)
	first := a.mustSeal(t, "b", "first")
	if n := len(first) - len("first"); n != maxEnvelope {
		t.Errorf("%d bytes around a message, want %d", n, maxEnvelope)
	}
	b.opens(t, "sent", first, "first", causes)
	b.opens(t, "sent again", first, "", dropReplayed)
	a.opens(t, "reflected", first, "", refuseSeal)
	c.opens(t, "sent to another", first, "", refuseSeal)
	life(t, "b2", testKey).opens(t, "sent to the next life", first, "", refuseSeal)

	second, third := a.mustSeal(t, "b", "second"), a.mustSeal(t, "b", "third")
	b.opens(t, "overtaken", third, "third", causes)
	b.opens(t, "the overtaken one", second, "second", causes)
	b.opens(t, "the overtaken one again", second, "", dropReplayed)
	late := a.mustSeal(t, "b", "late")
	for range windowSize - 1 {
		b.opens(t, "many", a.mustSeal(t, "b", "many"), "many", causes)
	}
	b.opens(t, "at the edge of the window", late, "late", causes)
	later := a.mustSeal(t, "b", "later")
	for range windowSize {
		b.opens(t, "many", a.mustSeal(t, "b", "many"), "many", causes)
	}
	b.opens(t, "behind the window", later, "", dropReplayed)
	for i := range maxEnvelope + len("bent") {
		bent := a.mustSeal(t, "b", "bent")
		bent[i] ^= 1
		if l, why := b.open(bent); why == causes {
			t.Errorf("byte %d is bent, and %+v opens", i, l)
		}
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
	sealed.opens(t, "little", []byte{byteSealed}, "", refuseMalformed)
	plain.opens(t, "an old packet", []byte{244, 4, 't', 'e', 's', 't', 6, 0xFF, 0xFF, 0xFF, 0xFF}, "", refuseMalformed)
}

// No counter comes twice under one key, though ways are forgotten and keys come back.
func TestNoNonceComesTwice(t *testing.T) {
	other := bytes.Repeat([]byte{1}, 32)
	me := mustIdentity(t, "test", "a", testKey, other)
	a, ring := newEnvelopes(me), *me.keys.Load()
	seen := make(map[string]bool)
	for i := range 200 {
		header := string(a.mustSeal(t, "b", "x")[:sealedHeader])
		if seen[header] {
			t.Fatalf("envelope %d has the header of another", i)
		}
		seen[header] = true
		switch i % 20 {
		case 5:
			a.setKeys([]streamKey{ring[1], ring[0]})
		case 11:
			a.setKeys(ring)
		case 17:
			a.outMu.Lock()
			clear(a.out)
			a.outMu.Unlock()
		}
	}
	// The window outlasts the keys: what was taken under the old key stays taken.
	b := life(t, "b", testKey, other)
	old := a.mustSeal(t, "b", "old")
	b.opens(t, "before the rotation", old, "old", causes)
	b.setKeys(b.keys)
	b.opens(t, "after it", old, "", dropReplayed)
	b.setKeys(b.keys[1:])
	b.opens(t, "a key that is gone", a.mustSeal(t, "b", "x"), "", refuseKey)
}

// What costs memory goes with a member that is long gone; that its envelopes were taken stays.
func TestWhoIsForgottenCannotBeReplayed(t *testing.T) {
	a, b := life(t, "a", testKey), life(t, "b", testKey)
	before := a.mustSeal(t, "b", "before")
	b.opens(t, "before", before, "before", causes)
	a.forget("b")
	b.forget("a")
	b.forget("nobody")
	if len(a.out) != 0 || b.in[markOf("a")].aeads != nil {
		t.Error("ciphers are kept")
	}
	b.opens(t, "a replay", before, "", dropReplayed)
	b.opens(t, "after it came back", a.mustSeal(t, "b", "after"), "after", causes)
	b.opens(t, "a replay", before, "", dropReplayed)
}

func TestTheWindowIsASetOfTheLastCounters(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var w window
		taken := make(map[uint64]bool)
		greatest, base := uint64(0), rng.Uint64N(1<<50)
		for range 3000 {
			c := base + rng.Uint64N(200)
			switch rng.IntN(20) {
			case 0:
				base += rng.Uint64N(3 * windowSize)
			case 1:
				base += rng.Uint64N(1 << 40)
			default:
				base += rng.Uint64N(3)
				c -= min(c, rng.Uint64N(2*windowSize))
			}
			want := !taken[c] && (c > greatest || greatest-c < windowSize)
			if got := w.take(c); got != want {
				t.Fatalf("seed %d: take(%d) is %t, the greatest being %d", seed, c, got, greatest)
			}
			taken[c] = true
			greatest = max(greatest, c)
		}
	}
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
