package transport

import (
	"bytes"
	"errors"
	"github.com/hashicorp/memberlist"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestProbeSaysWhoWouldTakeUs(t *testing.T) {
	sealed := openPeer(t, "s", withKey)
	f := func(addr, cluster string, keys [][]byte, want string) {
		t.Helper()
		if err := Probe(t.Context(), addr, cluster, keys); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v; want %q", cluster, err, want)
		}
	}
	f(sealed.addr, "test", [][]byte{testKey}, "")
	f(sealed.addr, "other", [][]byte{testKey}, "another cluster")
	until(t, "the count of a stranger", func() bool { return sealed.Stats().Refused["wrong_cluster"] == 1 })
	f(sealed.addr, "test", [][]byte{bytes.Repeat([]byte{1}, 32)}, "does not have our key")
	f(sealed.addr, "test", nil, "does not have our key")
	if n := len(sealed.Members()); n != 1 {
		t.Errorf("a probe made %d members", n)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f(l.Addr().String(), "test", nil, "refused")
	if err := sealed.Close(); err != nil { // so that it is done with all who asked
		t.Error(err)
	}
	if n := sealed.Stats().Refused["wrong_target"]; n != 0 {
		t.Errorf("%d probes are counted as refused", n)
	}
}

// lossy is a network that loses what it sends to some addresses, or all that comes.
type lossy struct {
	*sockets
	deaf bool
	mute func(to string) bool
}

func (l lossy) PacketCh() <-chan *memberlist.Packet {
	if l.deaf {
		return nil
	}
	return l.sockets.PacketCh()
}

func (l lossy) WriteTo(b []byte, addr string) (time.Time, error) {
	return l.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (l lossy) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if l.mute != nil && l.mute(to.Addr) {
		return time.Now(), nil
	}
	return l.sockets.WriteToAddress(b, to)
}

func TestProbeSaysWhetherPacketsPass(t *testing.T) {
	noLeaks(t)
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ours := free.LocalAddr().String()
	free.Close()
	open := func(id string, l lossy) *peer {
		if l.sockets, err = listen(netip.MustParseAddr("127.0.0.1"), 0, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		return openPeer(t, id, func(c *Config) { withKey(c); c.Network = l })
	}
	good, me := open("good", lossy{}), Config{Cluster: "test", Bind: ours, Keys: [][]byte{testKey}}
	for _, c := range []struct {
		name string
		at   *peer
		me   Config
		want error
	}{
		{"open", good, me, nil},
		{"deaf", open("deaf", lossy{deaf: true}), me, ErrNoPackets},
		{"mute", open("mute", lossy{mute: func(string) bool { return true }}), me, ErrNoPackets},
		{"answers", open("answers", lossy{mute: func(to string) bool { return to == ours }}), me, ErrOnlyAnswers},
		{"another cluster", good, Config{Cluster: "other", Bind: ours, Keys: me.Keys}, ErrNoPackets},
		{"another key", good, Config{Cluster: "test", Bind: ours, Keys: [][]byte{bytes.Repeat([]byte{1}, 32)}}, ErrNoPackets},
		{"all addresses", good, Config{Cluster: "test", Bind: "0.0.0.0:0", Advertise: ours, Keys: me.Keys}, ErrOnlyAnswers},
	} {
		if err := ProbePackets(t.Context(), c.at.addr, c.me); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if n := len(good.Members()); n != 1 {
		t.Errorf("a probe made %d members", n)
	}
}
