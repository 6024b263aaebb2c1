package transport

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// stalled is a member that greets a stream and then reads nothing.
func stalled(t *testing.T, of *peer) (id string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	me := mustIdentity(t, of.cfg.Cluster, "stalled")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			me.respond(c)
			t.Cleanup(func() { c.Close() })
		}
	}()
	at := ln.Addr().(*net.TCPAddr)
	of.Memberlist.members.NotifyJoin(&memberlist.Node{Name: "stalled", Addr: at.IP, Port: uint16(at.Port)})
	return "stalled"
}

func TestAStalledPeerFillsItsOwnQueueOnly(t *testing.T) {
	noLeaks(t)
	all := cluster(t, 2, func(c *Config) { c.QueueBytes, c.WriteTimeout = 1<<20, 200*time.Millisecond })
	a := all[0]
	slow := stalled(t, a)
	full := 0
	for range 64 { // 64 MiB: more than any socket buffer
		if err := a.SendStream(slow, make([]byte, 1<<20), false); errors.Is(err, ErrQueueFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
		send(t, a, "p1", "meanwhile", Stream)
		all[1].next([]byte("meanwhile"), Stream)
	}
	if got := a.Stats().Drops["queue_full"]; full == 0 || got != uint64(full) {
		t.Errorf("%d frames were refused, %d counted; want some, and the same", full, got)
	}
	until(t, "the stalled stream to be given up", func() bool { return a.Stats().Drops["stream_broken"] > 0 })
}

func TestUrgentFramesOvertakeBulk(t *testing.T) {
	all := cluster(t, 2, nil)
	a, b := all[0], all[1]
	o := &outbound{m: a.Memberlist, id: "p1", addr: b.LocalAddr(), wake: make(chan struct{}, 1), cancel: func() {}}
	for range 4 {
		if err := o.enqueue(make([]byte, 2<<20), bulk); err != nil {
			t.Fatal(err)
		}
	}
	var sent batch
	o.fill(&sent) // the first bulk frame is under way
	if err := o.enqueue([]byte("now"), urgent); err != nil {
		t.Fatal(err)
	}
	o.fill(&sent)
	if sent.frames != 1 || sent.bytes != 3 {
		t.Errorf("the batch after it finishes %d frames of %d bytes, want the urgent one", sent.frames, sent.bytes)
	}
	if want := recordHeader + 3; string(sent.buf[recordHeader:want]) != "now" || len(sent.buf) != maxBatch {
		t.Error("the urgent frame does not come first, with bulk to fill up")
	}
}

func TestLockMessagesGoFirstToTheirOwnInbox(t *testing.T) {
	type message struct{ from, body string }
	got := make(chan message, 10)
	all := cluster(t, 2, func(c *Config) {
		withKey(c)
		if c.ID == "p1" {
			c.Locks = func(from string, list [][]byte) {
				for _, b := range list {
					got <- message{from, string(b)}
				}
			}
		}
	})
	a := all[0]
	o := &outbound{m: a.Memberlist, id: "p1", addr: all[1].LocalAddr(), wake: make(chan struct{}, 1), cancel: func() {}}
	for l, body := range map[lane]string{bulk: "slow", urgent: "soon", locks: "now"} {
		if err := o.enqueue([]byte(body), l); err != nil {
			t.Fatal(err)
		}
	}
	var sent batch
	o.fill(&sent)
	var order []string
	readRecords(bufio.NewReader(bytes.NewReader(sent.buf)), 100, func(_ lane, f []byte) { order = append(order, string(f)) })
	if want := []string{"now", "soon", "slow"}; !slices.Equal(order, want) {
		t.Errorf("the stream carries %q, want %q", order, want)
	}

	if err := a.SendLock("p1", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		if m != (message{"p0", "mine"}) {
			t.Errorf("got %q from %q", m.body, m.from)
		}
	case <-time.After(patienceFor):
		t.Fatal("the message did not come")
	}
	if err := all[1].SendLock("p0", []byte("what for?")); err != nil {
		t.Fatal(err)
	}
	until(t, "the message nobody wants to be counted", func() bool { return a.Stats().Drops["unknown_kind"] == 1 })
}

func TestAnIdleStreamClosesAndOpensAgain(t *testing.T) {
	all := cluster(t, 2, func(c *Config) { c.StreamIdle = 50 * time.Millisecond })
	for range 3 {
		send(t, all[0], "p1", "hello", Stream)
		all[1].next([]byte("hello"), Stream)
		until(t, "the stream to close", func() bool {
			all[0].outMu.Lock()
			defer all[0].outMu.Unlock()
			return len(all[0].out) == 0 && all[1].Stats().StreamsIn == 0
		})
	}
	if d := all[0].Stats().Drops; d["stream_broken"]+d["peer_gone"] != 0 {
		t.Errorf("frames were dropped: %v", d)
	}
}

func TestWhatWaitsForTheDeadIsDroppedAndCounted(t *testing.T) {
	noLeaks(t)
	a := openPeer(t, "a", nil)
	at := &memberlist.Node{Name: "ghost", Addr: net.IPv4(127, 0, 0, 1), Port: 1} // nobody listens there
	a.Memberlist.members.NotifyJoin(at)
	for range 5 {
		send(t, a, "ghost", "anybody there?", Stream)
	}
	a.Memberlist.members.NotifyLeave(at)
	until(t, "the drops to be counted", func() bool { return a.Stats().Drops["peer_gone"] == 5 })
	if err := a.SendStream("ghost", []byte("still?"), false); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("sending to the dead: %v", err)
	}
}

func TestAStreamThatBreaksIsNoticedBeforeTheNextFrame(t *testing.T) {
	all := cluster(t, 2, nil)
	a, b := all[0], all[1]
	for range 3 {
		send(t, a, "p1", "hello", Stream)
		b.next([]byte("hello"), Stream)
		b.mux.hangUp(func(string) bool { return true })
		until(t, "the break to be noticed", func() bool { return a.Stats().StreamsOut == 0 })
	}
	if d := a.Stats().Drops["stream_broken"]; d != 0 {
		t.Errorf("%d frames were lost", d)
	}
}
