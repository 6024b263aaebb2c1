package transport

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// loop is a network that shows what memberlist sends, and gives it that to take.
type loop struct {
	memberlist.NodeAwareTransport // for what nobody calls
	sent                          []byte
	packets                       chan *memberlist.Packet
	streams                       chan net.Conn
	taken                         chan []byte
}

func (l *loop) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(10, 0, 0, 1), 7946, nil
}
func (l *loop) PacketCh() <-chan *memberlist.Packet { return l.packets }
func (l *loop) StreamCh() <-chan net.Conn           { return l.streams }
func (l *loop) Shutdown() error                     { return nil }
func (l *loop) WriteToAddress(b []byte, _ memberlist.Address) (time.Time, error) {
	l.sent = append(l.sent[:0], b...)
	return time.Time{}, nil
}
func (l *loop) DialAddressTimeout(memberlist.Address, time.Duration) (net.Conn, error) {
	return nil, errors.New("nobody is there")
}

func (l *loop) NodeMeta(int) []byte               { return nil }
func (l *loop) NotifyMsg(b []byte)                { l.taken <- b }
func (l *loop) GetBroadcasts(_, _ int) [][]byte   { return nil }
func (l *loop) LocalState(bool) []byte            { return nil }
func (l *loop) MergeRemoteState(_ []byte, _ bool) {}

// bare is a memberlist without what we lay around it, which seals by itself if it has a key.
type bare struct {
	*loop
	list *memberlist.Memberlist
}

func newBare(t testing.TB, key []byte) bare {
	t.Helper()
	l := &loop{packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), taken: make(chan []byte)}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Transport, c.Delegate, c.SecretKey = "a", l, l, key
	c.EnableCompression = false
	c.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Shutdown() })
	return bare{l, list}
}

// send returns the packet of a message, good until the next.
func (p bare) send(t testing.TB, message []byte) []byte {
	if err := p.list.SendBestEffort(&memberlist.Node{Name: "b", Addr: net.IPv4(10, 0, 0, 2)}, message); err != nil {
		t.Fatal(err)
	}
	return p.sent
}

func (p bare) receive(packet []byte) []byte {
	p.packets <- &memberlist.Packet{Buf: packet, From: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2)}}
	return <-p.taken
}

// An envelope is at most three bytes longer than what memberlist's own keyring makes, to
// which its label comes.
func TestAnEnvelopeIsHardlyLongerThanAKeyrings(t *testing.T) {
	message := []byte("a message")
	sealed, plain := newBare(t, testKey), newBare(t, nil)
	theirs := len(sealed.send(t, message)) - len(plain.send(t, message))
	ours := len(life(t, "a", testKey).mustSeal(t, "b", "a message")) - len(message)
	if ours != envelope.Overhead || ours > theirs+3 {
		t.Errorf("an envelope takes %d B, a keyring %d B", ours, theirs)
	}
	if got := sealed.receive(bytes.Clone(sealed.sent)); !bytes.Equal(got, message) {
		t.Errorf("memberlist took %q", got)
	}
}

// To seal and open a packet as long as they get, here and by memberlist's keyring: what that
// takes is the difference to a memberlist without one.
func BenchmarkSealing(b *testing.B) {
	message := bytes.Repeat([]byte{7}, MaxPacketBytes)
	from, to := life(b, "a", testKey), life(b, "b", testKey)
	sealed, plain := newBare(b, testKey), newBare(b, nil)
	var packet []byte
	var seal, open [3]time.Duration // here, with a keyring, without
	timed := func(sum *time.Duration, f func()) {
		began := time.Now()
		f()
		*sum += time.Since(began)
	}
	for b.Loop() {
		timed(&seal[0], func() { packet, _ = from.seal(packet[:0], "b", kindFrame, message) })
		timed(&seal[1], func() { sealed.send(b, message) })
		timed(&seal[2], func() { plain.send(b, message) })
		timed(&open[0], func() {
			if _, why := to.open(packet); why != causes {
				b.Fatal(why)
			}
		})
		timed(&open[1], func() { sealed.receive(sealed.sent) })
		timed(&open[2], func() { plain.receive(plain.sent) })
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N) }
	b.ReportMetric(0, "ns/op") // of all together says nothing
	b.ReportMetric(each(seal[0]), "ns/seal")
	b.ReportMetric(each(seal[1]-seal[2]), "ns/keyring-seal")
	b.ReportMetric(each(open[0]), "ns/open")
	b.ReportMetric(each(open[1]-open[2]), "ns/keyring-open")
	b.ReportMetric(each(seal[0]+open[0])/each(seal[1]-seal[2]+open[1]-open[2]), "of-keyring")
	b.ReportMetric(float64(len(packet)-len(message)), "B")
	b.ReportMetric(float64(len(sealed.sent)-len(plain.sent)), "keyring-B")
}
