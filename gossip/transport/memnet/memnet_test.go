package memnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	one = "10.0.0.1:7946"
	two = "10.0.0.2:7946"
)

// world runs a test in virtual time with two addresses listening.
func world(t *testing.T, f func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		listen := func(addr string) memberlist.NodeAwareTransport {
			tr, err := n.Listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tr.Shutdown() })
			return tr
		}
		f(t, n, listen(one), listen(two))
	})
}

// drain takes what arrives at a transport until nothing does for a second.
func drain(tr memberlist.Transport) (bodies []string) {
	for {
		select {
		case p := <-tr.PacketCh():
			bodies = append(bodies, string(p.Buf))
		case <-time.After(time.Second):
			return bodies
		}
	}
}

func sendMany(t *testing.T, from memberlist.Transport, to string, count int) {
	t.Helper()
	for i := range count {
		if _, err := from.WriteTo(fmt.Append(nil, i), to); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPacketsComeInOrderWithoutFaults(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		buf := []byte("x")
		for i := range 100 {
			buf[0] = byte(i)
			a.WriteTo(buf, two) // the buffer is used again: it must have been copied
		}
		for i, got := range drain(b) {
			if got[0] != byte(i) {
				t.Fatalf("packet %d is %d", i, got[0])
			}
		}
		if s := n.Sent(); s.Packets != 100 || s.PacketBytes != 100 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestFaultsHappenAboutAsOftenAsAsked(t *testing.T) {
	f := func(name string, set func(*Network), ok func(got []string) bool) {
		t.Helper()
		world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
			set(n)
			sendMany(t, a, two, 2000)
			if got := drain(b); !ok(got) {
				t.Errorf("%s: %d packets came", name, len(got))
			}
		})
	}
	overtaken := func(got []string) (n int) {
		last := -1
		for _, g := range got {
			var i int
			fmt.Sscan(g, &i)
			if i < last {
				n++
			}
			last = max(last, i)
		}
		return n
	}
	f("loss", func(n *Network) { n.SetLoss(0.3) }, func(g []string) bool { return len(g) > 1250 && len(g) < 1550 })
	f("duplicate", func(n *Network) { n.SetDuplicate(0.1) }, func(g []string) bool { return len(g) > 2120 && len(g) < 2280 })
	f("reorder", func(n *Network) { n.SetReorder(0.1) }, func(g []string) bool {
		o := overtaken(g)
		return len(g) == 2000 && o > 100 && o < 300
	})
	f("delay", func(n *Network) { n.SetDelay(time.Millisecond, 9*time.Millisecond) }, func(g []string) bool {
		return len(g) == 2000 && overtaken(g) > 500
	})
	f("none", func(*Network) {}, func(g []string) bool { return len(g) == 2000 && overtaken(g) == 0 })
}

func TestADelayIsWithinItsBounds(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		n.SetDelay(5*time.Millisecond, 8*time.Millisecond)
		for range 50 {
			sent := time.Now()
			a.WriteTo([]byte("x"), two)
			if d := (<-b.PacketCh()).Timestamp.Sub(sent); d < 5*time.Millisecond || d > 8*time.Millisecond {
				t.Fatalf("took %v", d)
			}
		}
	})
}

func TestACutIsOneWayForPackets(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		n.Cut(one, two)
		sendMany(t, a, two, 5)
		sendMany(t, b, one, 5)
		if here, there := drain(a), drain(b); len(here) != 5 || len(there) != 0 {
			t.Errorf("%d came back, %d went there; want 5 and 0", len(here), len(there))
		}
		n.Heal()
		sendMany(t, a, two, 5)
		if there := drain(b); len(there) != 5 {
			t.Errorf("%d came after Heal", len(there))
		}
	})
}

func TestARecorderSeesWhatIsDeliveredAndInjectsIt(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		sendMany(t, a, two, 1)
		n.Record()
		sendMany(t, a, two, 2)
		n.Cut(one, two)
		sendMany(t, a, two, 3)
		drain(b)
		tape := n.Recorded()
		if len(tape) != 2 || tape[0].From != one || tape[0].To != two {
			t.Fatalf("recorded: %v", tape)
		}
		for _, p := range tape {
			n.Inject(p.From, p.To, p.Packet)
			n.Inject(p.From, "10.0.0.9:7946", p.Packet) // nobody
		}
		if got := drain(b); fmt.Sprint(got) != "[0 1]" || len(n.Recorded()) != 2 {
			t.Errorf("%q come; %d are recorded", got, len(n.Recorded()))
		}
	})
}

func TestABufferIsOverwrittenLongAfterDelivery(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		a.WriteTo([]byte("keep me"), two)
		kept := <-b.PacketCh()
		time.Sleep(scribbleAfter / 2)
		a.WriteTo([]byte("next"), two)
		<-b.PacketCh()
		if string(kept.Buf) != "keep me" {
			t.Error("overwritten too early for a slow reader")
		}
		time.Sleep(scribbleAfter)
		a.WriteTo([]byte("last"), two)
		<-b.PacketCh()
		if string(kept.Buf) == "keep me" {
			t.Error("never overwritten: a missing copy would not show")
		}
	})
}

func dial(t *testing.T, a, b memberlist.NodeAwareTransport, addr string) (near, far net.Conn) {
	t.Helper()
	near, err := a.DialTimeout(addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return near, <-b.StreamCh()
}

func TestAStreamCarriesBytesBothWaysAndEnds(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		n.SetDelay(time.Millisecond, 5*time.Millisecond)
		near, far := dial(t, a, b, two)
		big := bytes.Repeat([]byte("0123456789"), 200<<10) // more than the window
		go func() {
			near.Write(big)
			near.Close()
		}()
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, big) {
			t.Errorf("read %d bytes of %d, %v", len(got), len(big), err)
		}
		if _, err := far.Write([]byte("late")); err == nil {
			t.Error("writing to one who closed succeeds")
		}
		if far.RemoteAddr().String() != one || near.RemoteAddr().String() != two {
			t.Errorf("ends are %v and %v", near.RemoteAddr(), far.RemoteAddr())
		}
	})
}

func TestDeadlinesEndAWait(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		near, _ := dial(t, a, b, two)
		f := func(what string, do func() error) {
			t.Helper()
			began := time.Now()
			near.SetDeadline(began.Add(time.Second))
			err := do()
			ne, ok := errors.AsType[net.Error](err)
			if !ok || !ne.Timeout() || time.Since(began) != time.Second {
				t.Errorf("%s: %v after %v", what, err, time.Since(began))
			}
		}
		f("read", func() error { _, err := near.Read(make([]byte, 1)); return err })
		f("write", func() error { _, err := near.Write(make([]byte, 2*window)); return err })
	})
}

func TestACutBreaksStreamsAndHoldsDials(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		near, far := dial(t, a, b, two)
		n.Cut(two, one) // one direction is enough
		for _, c := range []net.Conn{near, far} {
			if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("after a cut a read ends with %v", err)
			}
		}
		began := time.Now()
		if _, err := a.DialTimeout(two, 3*time.Second); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("dialling into a cut: %v after %v", err, time.Since(began))
		}
		go func() {
			time.Sleep(2500 * time.Millisecond)
			n.Heal()
		}()
		if _, err := a.DialTimeout(two, 5*time.Second); err != nil {
			t.Errorf("dialling while the cut heals: %v", err)
		}
	})
}

// A dial that a cut overtakes is not spared by it.
func TestACutBreaksAStreamThatIsBeingMade(t *testing.T) {
	n := New(1)
	n.Cut(one, two)
	near, far := n.pipe(one, two)
	for _, end := range []*stream{near, far} {
		if _, err := end.Write([]byte("x")); err == nil {
			t.Errorf("%s writes over the cut", end.local)
		}
	}
	if len(n.conns) != 0 {
		t.Errorf("%d ends are kept", len(n.conns))
	}
}

func TestAnAddressIsFreeAgainAfterShutdown(t *testing.T) {
	world(t, func(t *testing.T, n *Network, a, b memberlist.NodeAwareTransport) {
		if _, err := n.Listen(two); err == nil {
			t.Error("an address is taken twice")
		}
		near, _ := dial(t, a, b, two)
		b.Shutdown()
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("a stream outlives its end")
		}
		if _, err := a.DialTimeout(two, time.Second); err == nil {
			t.Error("nobody listens, and the dial succeeds")
		}
		c, err := n.Listen(two)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Shutdown()
		sendMany(t, a, two, 3)
		if got := drain(c); len(got) != 3 {
			t.Errorf("%d packets reach the new one", len(got))
		}
		free, err := n.Listen("10.0.0.9:0")
		if err != nil {
			t.Fatal(err)
		}
		defer free.Shutdown()
		if _, port, _ := free.FinalAdvertiseAddr("", 0); port == 0 {
			t.Error("port 0 stays 0")
		}
	})
}
