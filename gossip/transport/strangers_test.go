package transport

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// from dials a peer from another address of loopback; nil if it is hung up on at once.
func from(t *testing.T, ip string, to *peer) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	ctx, cancel := context.WithTimeout(t.Context(), patienceFor)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", to.LocalAddr())
	if err != nil {
		t.Skip("SKIP: this system has one address of loopback only: ", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patienceFor))
	return c
}

// A thousand connections that never finish their handshake, from one address and from
// many, keep neither a new peer out nor one that is known.
func TestStrangersKeepNobodyOut(t *testing.T) {
	noLeaks(t)
	a := openPeer(t, "a", func(c *Config) { withKey(c); c.HandshakeTimeout = time.Minute })
	half := append([]byte{bytePeer, streamVersion, byte(forFrames)}, a.me.clusterHash[:]...)
	taken := func() int { return a.mux.unproven() }
	for range 1000 {
		from(t, "127.0.0.66", a).Write(half)
	}
	until(t, "the rest to be hung up on", func() bool {
		return taken() == maxEachStranger && a.Stats().Refused["busy"] == 1000-maxEachStranger
	})
	for i := range 30 {
		for range maxEachStranger {
			from(t, net.IPv4(127, 0, 1, byte(i+1)).String(), a).Write(half)
		}
	}
	until(t, "strangers to have all that they may", func() bool {
		return taken() == maxStrangers && a.Stats().Refused["busy"] == 1000+30*maxEachStranger-maxStrangers
	})
	if _, err := mustIdentity(t, "test", "x", testKey).initiate(from(t, "127.0.9.9", a), forMembers, anybody); err != nil {
		t.Error("who comes from an address that nobody knows is kept out: ", err)
	}
	b := openPeer(t, "b", func(c *Config) { withKey(c); c.Seeds = []string{a.LocalAddr()} })
	b.await("a", alive(2))
	a.await("b", alive(2))
	send(t, b, "a", "a word", Stream)
	a.next([]byte("a word"), Stream)
}

func TestWhoHoldsMostPlacesGivesWay(t *testing.T) {
	p := newPlaces()
	home := netip.MustParseAddr("10.0.0.1")
	p.lives = func(ip netip.Addr) bool { return ip == home }
	enter := func(ip string) (evicted *muxConn, ok bool) { return p.enter(&muxConn{from: netip.MustParseAddr(ip)}) }
	// One owner of 64 bits of IPv6 takes all, an address each.
	for i := range maxStrangers {
		if evicted, ok := enter(fmt.Sprintf("2001:db8::%x", i+1)); !ok || evicted != nil {
			t.Fatalf("place %d: %t, instead of %v", i, ok, evicted)
		}
	}
	if _, ok := enter("2001:db8::ffff"); ok {
		t.Error("it has one more")
	}
	for i := range maxEachStranger {
		evicted, ok := enter("192.0.2.1")
		if !ok || evicted == nil || !evicted.from.Is6() {
			t.Fatalf("newcomer %d: %t, instead of %v", i, ok, evicted)
		}
		p.leave(evicted) // as it does when it is closed
	}
	if _, ok := enter("192.0.2.1"); ok {
		t.Error("an address has more than its bound")
	}
	for i := range maxPending - maxStrangers {
		if evicted, ok := enter(home.String()); !ok || evicted != nil {
			t.Errorf("member %d: %t, instead of %v", i, ok, evicted)
		}
	}
	if _, ok := enter(home.String()); ok || p.taken != maxPending {
		t.Errorf("%d are taken", p.taken)
	}
	for ip := range p.held {
		for len(p.held[ip]) > 0 {
			p.leave(p.held[ip][0])
		}
	}
	if p.taken != 0 || len(p.held) != 0 {
		t.Errorf("%d are taken when all have left, at %d addresses", p.taken, len(p.held))
	}
}

// Who has no key costs little memory, whatever it sends: what looks like memberlist's own
// exchange, which may claim ten megabytes, is hung up on.
func TestAStrangerCostsLittleMemory(t *testing.T) {
	noLeaks(t)
	a := openPeer(t, "a", withKey)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	exchange := append([]byte{6, 0x83}, bytes.Repeat([]byte{0xDB, 0x00, 0xFF, 0xFF, 0xFF}, 1<<14)...)
	for i := range 200 {
		c := from(t, net.IPv4(127, 0, 2, byte(i+1)).String(), a)
		c.Write(exchange)
		c.Read(make([]byte, 1))
	}
	until(t, "all to be refused", func() bool { return a.Stats().Refused["malformed"] == 200 })
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("200 strangers cost %d MiB", grown>>20)
	}
}

// A hello with the cluster's public names, sent by who has no key, is given no more than
// the handshake; and memberlist never hears of it.
func TestAnExchangeBeginsWithAProof(t *testing.T) {
	a := openPeer(t, "a", withKey)
	liar := mustIdentity(t, "test", "x", bytes.Repeat([]byte{1}, 32))
	(*liar.keys.Load())[0].id = (*a.me.keys.Load())[0].id
	c := raw(t, a)
	if _, err := liar.initiate(c, forMembers, anybody); err == nil {
		t.Error("a liar was let in")
	}
	until(t, "the refusal", func() bool { return a.Stats().Refused["wrong_key"] == 1 })

	if n := len(a.Members()); n != 1 {
		t.Errorf("there are %d members", n)
	}
}

// A recorded hello is answered, for it has the key's proof; but what follows must be sealed
// under what the answer brought. Whatever it was for, its replay is counted.
func TestAReplayedHelloIsCounted(t *testing.T) {
	for use, target := range map[purpose]string{forMembers: anybody, forFrames: "a"} {
		for last, cause := range map[string]string{
			string(append([]byte{0, 32}, make([]byte, 32)...)): "wrong_seal",
			"": "timeout",
		} {
			a := openPeer(t, "a", func(c *Config) { withKey(c); c.HandshakeTimeout = 500 * time.Millisecond })
			there := &bytes.Buffer{}
			mustIdentity(t, "test", "x", testKey).initiate(conn{bytes.NewReader(nil), there}, use, target)
			c := raw(t, a)
			c.Write(append(there.Bytes(), last...))
			until(t, fmt.Sprint(cause, " for ", use), func() bool { return a.Stats().Refused[cause] == 1 })
		}
	}
}
