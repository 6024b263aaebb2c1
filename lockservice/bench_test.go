package lockservice

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
)

// ring is a few nodes with a network that has no delay.
type ring struct {
	nodes map[string]*Node
	names []string
	now   Time
	busy  int // packets that were carried
	bytes int // the bytes of these packets
	done  func(string, Result)
}

func newRing(b testing.TB, voters []string, clients ...string) *ring {
	r := &ring{nodes: make(map[string]*Node), names: append(append([]string(nil), voters...), clients...), now: at(0)}
	for _, name := range r.names {
		r.nodes[name] = newNode(b, name, voters, nil)
		r.nodes[name].SetLive(r.now, r.names)
	}
	return r
}

// settle carries packets until no node has one to send.
func (r *ring) settle(b testing.TB) {
	for again := true; again; {
		again = false
		for _, from := range r.names {
			rd := r.nodes[from].Ready(r.now)
			for _, res := range rd.Results {
				if r.done != nil {
					r.done(from, res)
				}
			}
			for _, p := range rd.Packets {
				again = true
				r.busy++
				r.bytes += len(p.Bytes)
				if err := r.nodes[p.To].Receive(r.now, from, p.Bytes); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

// run carries packets and runs the alarms of the next d.
func (r *ring) run(b testing.TB, d time.Duration) {
	r.settle(b)
	for end := r.now.Mono + d; ; {
		next := time.Duration(math.MaxInt64)
		for _, n := range r.nodes {
			next = min(next, n.Next())
		}
		next = max(min(next, end), r.now.Mono)
		r.now.Wall += uint64((next - r.now.Mono).Microseconds())
		if r.now.Mono = next; next == end {
			return
		}
		for _, name := range r.names {
			if n := r.nodes[name]; n.Next() <= next {
				n.Tick(r.now)
			}
		}
		r.settle(b)
	}
}

// messages returns how many messages the nodes have received, those to themselves included.
func (r *ring) messages() (count int) {
	for _, n := range r.nodes {
		count += int(n.Stats().Messages)
	}
	return count
}

// This benchmark measures the protocol of a lock and an unlock, with encoding and with all
// roles on one core. One client makes one call at a time, or 64.
func BenchmarkPairs(b *testing.B) {
	for _, flight := range []int{1, 64} {
		b.Run(fmt.Sprintf("inflight=%d", flight), func(b *testing.B) {
			r := newRing(b, abc, "client")
			var locks []string
			for i := 0; len(locks) < flight; i++ {
				if l := fmt.Sprintf("lock-%d", i); ranking(shardOf(l), abc)[0] == "a" {
					locks = append(locks, l)
				}
			}
			held := make([]uint64, 0, flight)
			r.done = func(_ string, res Result) {
				if res.Event == Acquired {
					held = append(held, res.ID)
				}
			}
			b.ReportAllocs()
			pairs := 0
			for b.Loop() {
				for _, l := range locks {
					if _, err := r.nodes["client"].Acquire(r.now, Call{Lock: l, TTL: 10 * time.Second}); err != nil {
						b.Fatal(err)
					}
				}
				r.settle(b)
				if len(held) != flight {
					b.Fatalf("%d of %d", len(held), flight)
				}
				for _, id := range held {
					if err := r.nodes["client"].Release(r.now, id); err != nil {
						b.Fatal(err)
					}
				}
				r.settle(b)
				held, pairs = held[:0], pairs+flight
				r.now.Mono += time.Millisecond
				r.now.Wall += 1000
			}
			b.ReportMetric(float64(pairs)/b.Elapsed().Seconds(), "pairs/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(pairs), "ns/pair")
		})
	}
}

// One client holds leases at three voters in virtual time. The benchmark measures the share of one
// core that renewals take at all four peers together, and the memory of a lease at all of them.
func BenchmarkRenewals(b *testing.B) {
	for _, leases := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("leases=%d", leases), func(b *testing.B) { renewals(b, leases) })
	}
}

func renewals(b *testing.B, leases int) {
	r := newRing(b, abc, "client")
	held, extended := 0, 0
	r.done = func(_ string, res Result) {
		switch res.Event {
		case Acquired:
			held++
		case Extended:
			extended++
		default:
			b.Fatalf("%+v", res)
		}
	}
	before := heapBytes()
	for i := range leases {
		if _, err := r.nodes["client"].Acquire(r.now, Call{Lock: fmt.Sprintf("lock-%d", i), TTL: 10 * time.Second}); err != nil {
			b.Fatal(err)
		}
	}
	r.run(b, 10*time.Second) // each lease is renewed alone once
	if held != leases {
		b.Fatalf("%d held", held)
	}
	memory := heapBytes() - before
	r.busy, extended = 0, 0
	virtual := time.Duration(0)
	for b.Loop() {
		r.run(b, time.Second)
		virtual += time.Second
	}
	b.ReportMetric(100*b.Elapsed().Seconds()/virtual.Seconds(), "%core")
	b.ReportMetric(float64(extended)/virtual.Seconds(), "renewals/s")
	b.ReportMetric(float64(r.busy)/virtual.Seconds(), "packets/s")
	b.ReportMetric(float64(memory)/float64(leases), "B/lease")
}

// heapBytes returns the bytes of the heap that are in use.
func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// This benchmark measures a lock and an unlock through sessions, over a network without delay.
func BenchmarkSessionPair(b *testing.B) {
	w := newTwin(b, 0)
	defer w.close()
	w.three()
	client := w.open("client", abc, nil)
	f := func(name string, s *Session, lock string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			for b.Loop() {
				l, err := s.Lock(ctx, lock)
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Unlock(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("at-the-owner", w.sessions["a"], ownedBy("a", abc))
	f("remote", client, ownedBy("b", abc))
}

// idleBytes returns the bytes that an acceptor keeps for each of n locks that were held once.
func idleBytes(t testing.TB, n int) float64 {
	a := newNode(t, "a", abc, nil).acceptor
	before := heapBytes()
	inst := Inst{"client", [16]byte{1}, 0}
	for i := range n {
		inst.N++
		lock := fmt.Sprintf("orders/eu/%08d", i)
		m := Message{Kind: Accept, Lock: lock, Inst: inst, Round: 1, Token: wall + uint64(i), TTL: time.Second, Epoch: 1, Hash: a.hash}
		if got := a.accept(at(0), &m); got.Kind != Ack {
			t.Fatalf("%+v", got)
		}
		a.clear(at(0), &m)
	}
	after := heapBytes()
	runtime.KeepAlive(a)
	return float64(max(after, before)-before) / float64(n)
}

func TestAnIdleLockCostsAnAcceptorLittle(t *testing.T) {
	for _, n := range []int{1000, 50_000, 300_000} {
		if got := idleBytes(t, n); got > 300 {
			t.Errorf("%d idle locks take %.0f bytes each; the limit is 300", n, got)
		} else {
			t.Logf("%d idle locks: %.0f bytes each", n, got)
		}
	}
}
