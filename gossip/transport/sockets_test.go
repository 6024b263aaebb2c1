package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestThreePeersOnLoopbackFindEachOtherAndTalk(t *testing.T) {
	for name, change := range map[string]func(*Config){"plain": nil, "sealed": withKey} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			all := cluster(t, 3, change)
			a, b, c := all[0], all[1], all[2]
			for _, to := range []*peer{b, c} {
				small, frame := []byte("packet to "+to.cfg.ID), []byte("stream to "+to.cfg.ID)
				if err := a.SendPacket(to.cfg.ID, small); err != nil {
					t.Fatal(err)
				}
				to.next(small, Packet)
				if err := a.SendStream(to.cfg.ID, bytes.Clone(frame), false); err != nil {
					t.Fatal(err)
				}
				to.next(frame, Stream)
			}
			big := bytes.Repeat([]byte("6 MiB..."), 6<<20/8)
			if err := b.SendStream("p2", bytes.Clone(big), false); err != nil {
				t.Fatal(err)
			}
			c.next(big, Stream)
			until(t, "proven streams to give their slots back", func() bool { return c.mux.unproven() == 0 })
			until(t, "the count of 2 packets and 2 frames on 2 streams out", func() bool {
				s := a.Stats()
				return s.Packets.Out == 2 && s.Streams.Out == 2 && s.StreamsOut == 2
			})
			if s := c.Stats(); s.Streams.In != 2 || s.Streams.BytesIn != uint64(len(big)+len("stream to p2")) {
				t.Errorf("counted %+v, want 2 frames and their bytes in", s)
			}
		})
	}
}

func TestLoopbackWorksOnIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here:", err)
	} else {
		l.Close()
	}
	all := cluster(t, 2, func(c *Config) { c.Bind = "[::1]:0" })
	if !strings.HasPrefix(all[0].LocalAddr(), "[::1]:") {
		t.Errorf("our address is %s", all[0].LocalAddr())
	}
	for _, via := range []Path{Packet, Stream} {
		send(t, all[0], "p1", "six", via)
		all[1].next([]byte("six"), via)
	}
}

func TestSeedsMayBeNamesAndBindAllAddresses(t *testing.T) {
	all := func(c *Config) { withKey(c); c.Bind = "0.0.0.0:0" }
	network := Config{Cluster: "test", ID: "probe", Inbox: func([]byte, Path) {}}
	all(&network)
	m, err := Open(t.Context(), network)
	if err != nil {
		if !strings.Contains(err.Error(), "set Advertise") {
			t.Error(err)
		}
		t.Skip("this machine has no address but loopback")
	}
	defer m.Close()
	if host, _, _ := net.SplitHostPort(m.LocalAddr()); net.ParseIP(host).IsUnspecified() || net.ParseIP(host).IsLoopback() {
		t.Errorf("we tell others to find us at %s", m.LocalAddr())
	}
	a := openPeer(t, "a", func(c *Config) { withKey(c); c.Bind = "localhost:0" })
	_, port, _ := net.SplitHostPort(a.LocalAddr())
	b := openPeer(t, "b", func(c *Config) {
		withKey(c)
		c.Bind, c.Advertise = "127.0.0.1:0", ""
		c.Seeds = []string{"no.such.host.invalid:1", "localhost:" + port}
	})
	a.await("b", alive(2))
	b.await("a", alive(2))
}

func TestWhatWeAdvertiseIsWhatOthersSee(t *testing.T) {
	// Behind a mapping the two differ; nothing needs to arrive there for this.
	p := openPeer(t, "p", func(c *Config) { c.Advertise = "192.0.2.1:4321" })
	if p.LocalAddr() != "192.0.2.1:4321" || p.Members()[0].Addr != p.LocalAddr() {
		t.Errorf("we are %s, listed as %v", p.LocalAddr(), p.Members())
	}
}

func send(t *testing.T, from *peer, to, text string, via Path) {
	t.Helper()
	err := error(nil)
	if via == Packet {
		err = from.SendPacket(to, []byte(text))
	} else {
		err = from.SendStream(to, []byte(text), false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatIsUnsafeOrWrong(t *testing.T) {
	good := Config{Cluster: "test", ID: "a", Bind: "127.0.0.1:0", Inbox: func([]byte, Path) {}}
	f := func(want string, is error, change func(*Config)) {
		t.Helper()
		cfg := good
		change(&cfg)
		m, err := Open(t.Context(), cfg)
		if err == nil {
			m.Close()
			t.Errorf("opened; want an error about %q", want)
			return
		}
		if !strings.Contains(err.Error(), want) || is != nil && !errors.Is(err, is) {
			t.Errorf("%v: want something about %q, and %v", err, want, is)
		}
	}
	f("set a key", ErrPlaintextBind, func(c *Config) { c.Bind = "0.0.0.0:0" })
	f("plain text", ErrPlaintextBind, func(c *Config) { c.Bind = ":0" })
	f("plain text", ErrPlaintextBind, func(c *Config) { c.Bind = "[::]:0" })
	f("fault", ErrFaultsBind, func(c *Config) { c.Bind, c.Faults = "0.0.0.0:0", true; withKey(c) })
	f("Cluster has 0 bytes", nil, func(c *Config) { c.Cluster = "" })
	f("ID has 65 bytes", nil, func(c *Config) { c.ID = strings.Repeat("x", 65) })
	f("allowed are up to 400", ErrTooLarge, func(c *Config) { c.Meta = make([]byte, 401) })
	f("16, 24 and 32", nil, func(c *Config) { c.Keys = [][]byte{make([]byte, 17)} })
	f("Inbox", nil, func(c *Config) { c.Inbox = nil })
	f("port", nil, func(c *Config) { c.Bind = "127.0.0.1:http" })
	f("advertise", nil, func(c *Config) { c.Advertise = "127.0.0.1:0" })

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f("in use", nil, func(c *Config) { c.Bind = taken.Addr().String() })
}

func TestSendRefusesWhatItCannotCarry(t *testing.T) {
	all := cluster(t, 2, nil)
	a := all[0]
	f := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(a.SendPacket("p1", make([]byte, MaxPacketBytes+1)), ErrTooLarge)
	f(a.SendPacket("p1", nil), ErrTooLarge)
	f(a.SendStream("p1", make([]byte, MaxFrameBytes+1), false), ErrTooLarge)
	f(a.SendStream("p1", nil, true), ErrTooLarge)
	f(a.SendPacket("nobody", []byte("x")), ErrUnknownPeer)
	f(a.SendStream("nobody", []byte("x"), true), ErrUnknownPeer)
	f(a.SendPacket("p0", []byte("to myself")), ErrUnknownPeer)
	f(a.Cut("1.2.3.4:5"), ErrFaultsOff)
	f(a.SetMeta(make([]byte, 401)), ErrTooLarge)

	edge := bytes.Repeat([]byte{7}, MaxPacketBytes)
	f(a.SendPacket("p1", edge), nil)
	all[1].next(edge, Packet)
	full := bytes.Repeat([]byte{9}, MaxFrameBytes)
	f(a.SendStream("p1", bytes.Clone(full), false), nil)
	all[1].next(full, Stream)

	a.Close()
	f(a.Close(), nil)
	f(a.SendPacket("p1", []byte("x")), ErrClosed)
	f(a.SendStream("p1", []byte("x"), true), ErrClosed)
	f(a.SetMeta(nil), ErrClosed)
	f(a.Leave(t.Context()), ErrClosed)
}

func TestMembersLearnMetaDeathAndGoodbye(t *testing.T) {
	all := cluster(t, 3, func(c *Config) { c.Meta = []byte("first") })
	meta := func(want string) func([]Member) bool {
		return func(ms []Member) bool {
			for _, m := range ms {
				if m.ID == "p1" {
					return string(m.Meta) == want
				}
			}
			return false
		}
	}
	all[0].await("the first meta", meta("first"))
	if err := all[1].SetMeta([]byte("second")); err != nil {
		t.Fatal(err)
	}
	all[0].await("the second meta", meta("second"))
	if err := all[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	all[1].Close()
	for _, p := range []*peer{all[0], all[2]} {
		p.await("p1 has left", stateOf("p1", Left))
		if missing := p.Stats().Missing; missing != 0 {
			t.Errorf("%s misses %d addresses; who left is not to be looked for", p.cfg.ID, missing)
		}
	}
	all[2].Close()
	all[0].await("p2 is dead", stateOf("p2", Dead))
	if missing := all[0].Stats().Missing; missing != 1 {
		t.Errorf("misses %d addresses, want the one of p2", missing)
	}
}

// raw dials a peer as a stranger would.
func raw(t *testing.T, to *peer) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patienceFor))
	return c
}

func mustIdentity(t testing.TB, cluster, id string, keys ...[]byte) *identity {
	t.Helper()
	me, err := newIdentity(cluster, id, keys)
	if err != nil {
		t.Fatal(err)
	}
	return me
}

func TestAStrangerIsToldWhyCountedAndHungUpOn(t *testing.T) {
	sealed := openPeer(t, "s", withKey)
	plain := openPeer(t, "p", nil)
	f := func(to *peer, me *identity, target string, want cause) {
		t.Helper()
		before := to.Stats().Refused[want.String()]
		c := raw(t, to)
		_, err := me.initiate(c, forFrames, target)
		if r, ok := errors.AsType[*refusal](err); !ok || r.why != want || r.local {
			t.Errorf("%v: want to be refused for %v", err, want)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection stays open")
		}
		until(t, "the count of "+want.String(), func() bool { return to.Stats().Refused[want.String()] == before+1 })
	}
	other := bytes.Repeat([]byte{1}, 32)
	f(sealed, mustIdentity(t, "other", "x", testKey), "s", refuseCluster)
	f(sealed, mustIdentity(t, "test", "x", other), "s", refuseKey)
	f(sealed, mustIdentity(t, "test", "x"), "s", refuseKey)
	f(plain, mustIdentity(t, "test", "x", testKey), "p", refuseKey)
	f(sealed, mustIdentity(t, "test", "x", testKey), "somebody else", refuseTarget)

	// The name of a key is public; who only knows the name gets no further.
	liar := mustIdentity(t, "test", "x", other)
	(*liar.keys.Load())[0].id = (*mustIdentity(t, "test", "x", testKey).keys.Load())[0].id
	f(sealed, liar, "s", refuseKey)

	c := raw(t, plain)
	c.Write([]byte{bytePeer, streamVersion + 1})
	answer, _ := io.ReadAll(c)
	if !bytes.Equal(answer, []byte{answerVersion, streamVersion}) {
		t.Errorf("another version is answered %x", answer)
	}
	until(t, "the count of wrong_version", func() bool { return plain.Stats().Refused["wrong_version"] == 1 })
}

func TestAPeerOfAnotherClusterOrKeyIsNeverAMember(t *testing.T) {
	a := openPeer(t, "a", withKey)
	b := openPeer(t, "b", func(c *Config) { withKey(c); c.Cluster, c.Seeds = "other", []string{a.LocalAddr()} })
	d := openPeer(t, "d", func(c *Config) {
		c.Keys, c.Seeds = [][]byte{bytes.Repeat([]byte{1}, 32)}, []string{a.LocalAddr()}
	})
	until(t, "both to be refused", func() bool {
		r := a.Stats().Refused
		return r["wrong_cluster"] > 0 && r["wrong_key"] > 0
	})
	for _, p := range []*peer{a, b, d} {
		if !alive(1)(p.Members()) {
			t.Errorf("%s has members %v", p.cfg.ID, p.Members())
		}
	}
}

func TestKeysRotateWithoutAPause(t *testing.T) {
	old, fresh := testKey, bytes.Repeat([]byte{2}, 32)
	ring := func(keys ...[]byte) func(*Config) { return func(c *Config) { c.Keys = keys } }
	// The four stages of a rotation, side by side in pairs as they meet.
	for i, pair := range [][2]func(*Config){
		{ring(old), ring(old, fresh)},
		{ring(old, fresh), ring(fresh, old)},
		{ring(fresh, old), ring(fresh)},
	} {
		a := openPeer(t, fmt.Sprintf("a%d", i), pair[0])
		b := openPeer(t, fmt.Sprintf("b%d", i), func(c *Config) { pair[1](c); c.Seeds = []string{a.LocalAddr()} })
		a.await("b", alive(2))
		b.await("a", alive(2))
		for _, via := range []Path{Packet, Stream} {
			send(t, a, b.cfg.ID, "there", via)
			b.next([]byte("there"), via)
			send(t, b, a.cfg.ID, "and back", via)
			a.next([]byte("and back"), via)
		}
	}
}

func TestGarbageOnThePortDoesNoHarm(t *testing.T) {
	noLeaks(t)
	all := cluster(t, 2, nil)
	garbage := [][]byte{
		nil, {0}, {bytePeer}, {byteFrom}, {byteFrom, 255, 'x'}, {byteFrom, 0},
		bytes.Repeat([]byte{0xFF}, 4096), []byte("GET / HTTP/1.1\r\n\r\n"),
		bytes.Repeat([]byte{bytePeer}, 4096), bytes.Repeat([]byte{byteFrom}, 4096),
		{244, 4, 't', 'e', 's', 't', 6, 0xFF, 0xFF, 0xFF, 0xFF},
	}
	udp, err := net.Dial("udp", all[0].LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, g := range garbage {
		c := raw(t, all[0])
		c.Write(g)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		udp.Write(g)
	}
	for _, via := range []Path{Packet, Stream} {
		send(t, all[1], "p0", "still here", via)
		all[0].next([]byte("still here"), via)
	}
}

func TestRecordsThatCannotBeAreRefused(t *testing.T) {
	p := openPeer(t, "p", nil)
	f := func(records ...[]byte) {
		t.Helper()
		before := p.Stats().Refused["malformed"]
		c := raw(t, p)
		if _, err := mustIdentity(t, "test", "x").initiate(c, forFrames, "p"); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if _, err := c.Write(r); err != nil {
				break
			}
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection stays open")
		}
		until(t, "the count", func() bool { return p.Stats().Refused["malformed"] == before+1 })
	}
	f([]byte{0, 0xFF, 0xFF, 0xFF})
	f([]byte{flagLast, 0, 0, 0})
	f([]byte{0x80, 0, 0, 1, 'x'})
	piece := append([]byte{flagBulk, byte(maxRecord >> 16), byte(maxRecord >> 8 & 0xFF), byte(maxRecord & 0xFF)}, make([]byte, maxRecord)...)
	var endless [][]byte
	for n := 0; n <= MaxFrameBytes; n += maxRecord {
		endless = append(endless, piece)
	}
	f(endless...)
	if len(p.inbox) != 0 {
		t.Error("something of it was delivered")
	}
}

func TestWhoSaysNothingHoldsNothingForLong(t *testing.T) {
	noLeaks(t)
	a := openPeer(t, "a", func(c *Config) { c.HandshakeTimeout = time.Second })
	for range maxEachMember { // this address is also a's
		raw(t, a)
	}
	half := raw(t, a) // one more than there are places
	half.Write([]byte{bytePeer})
	until(t, "the one too many to be hung up on", func() bool { return a.Stats().Refused["busy"] == 1 })
	until(t, "the silent to be hung up on", func() bool {
		r := a.Stats().Refused
		return r["timeout"] == maxEachMember
	})
	half = raw(t, a) // one that dribbles
	half.Write([]byte{bytePeer})
	until(t, "the dribbler to be hung up on", func() bool { return a.Stats().Refused["timeout"] == maxEachMember+1 })
	b := openPeer(t, "b", func(c *Config) { c.Seeds = []string{a.LocalAddr()} })
	b.await("a", alive(2))
	send(t, b, "a", "a word", Stream)
	a.next([]byte("a word"), Stream)
}

func TestNothingArrivesAfterClose(t *testing.T) {
	all := cluster(t, 2, nil)
	var closed atomic.Bool
	sink := openPeer(t, "sink", func(c *Config) {
		c.Seeds = []string{all[0].LocalAddr()}
		c.Inbox = func([]byte, Path) {
			if closed.Load() {
				t.Error("a frame arrived after Close")
			}
		}
	})
	var senders sync.WaitGroup
	for _, p := range all {
		p.await("the sink", stateOf("sink", Alive))
		senders.Go(func() {
			for i := range 20000 {
				var err error
				if i%2 == 0 {
					err = p.SendPacket("sink", []byte("x"))
				} else {
					err = p.SendStream("sink", []byte("x"), false)
				}
				if err != nil {
					return
				}
				if i == 1000 && p == all[0] {
					sink.Close()
					closed.Store(true)
				}
			}
		})
	}
	senders.Wait()
}
