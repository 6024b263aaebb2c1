package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// restarts is a cluster of two peers that stay and one that starts again and again without a
// disk. Each of its lives writes and then leaves.
type restarts struct {
	t     testing.TB
	now   time.Time
	stay  []*Replica
	lives int
	sizes map[uint64]int // bytes of the latest frame, by the kind of its first section
	lost  func(to int, frame []byte) bool
	sent  func(gossip.Envelope)
	last  gossip.Envelope // latest deltas of a life that has ended
}

func newRestarts(t testing.TB) *restarts {
	w := &restarts{t: t, now: epoch, sizes: map[uint64]int{}}
	for i := range 2 {
		w.stay = append(w.stay, w.start(fmt.Sprintf("stay%d", i), clock.Actor{Birth: 1, Rand: uint64(i) + 1}))
	}
	w.view()
	return w
}

func (w *restarts) start(name string, a clock.Actor) *Replica {
	return New(w.now, Config{Name: name, Conflicts: 1, Gossip: gossip.Config{Self: a, Cluster: "test", BatchInterval: gossip.AtOnce}})
}

// view makes the peers that stay members of one another. Lives leave the list when they end.
func (w *restarts) view() {
	var all []gossip.Peer
	for i, p := range w.stay {
		all = append(all, gossip.Peer{Actor: p.Actor(), Name: fmt.Sprintf("stay%d", i), Alive: true})
	}
	for _, p := range w.stay {
		p.SetMembers(w.now, all)
	}
}

// restart starts a life that writes. In some lives one of three dots reaches no other peer.
func (w *restarts) restart() {
	w.lives++
	p := w.start("restarts", w.life())
	var to []gossip.Peer
	for i, s := range w.stay {
		to = append(to, gossip.Peer{Actor: s.Actor(), Name: fmt.Sprintf("stay%d", i), Alive: true})
	}
	p.SetMembers(w.now, to)
	p.Ready()
	for k := range 3 {
		v, err := crdt.ValueOf(w.lives)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := p.Write(w.now, true, crdt.Op{Verb: crdt.Put, Key: fmt.Sprintf("k%d", k), Value: v}); err != nil {
			w.t.Fatal(err)
		}
		p.Tick(w.now)
		for _, e := range p.Ready().Envelopes {
			if k != 1 || w.lives%97 != 0 {
				w.deliver(e)
				if firstKind(e.Frame) == deltasKind {
					w.last = e
				}
			}
		}
	}
}

func (w *restarts) life() clock.Actor {
	return clock.Actor{Birth: uint64(w.now.UnixMilli()) + uint64(w.lives), Rand: uint64(w.lives)}
}

func (w *restarts) deliver(e gossip.Envelope) {
	for i, p := range w.stay {
		if p.Actor() == e.To && (w.lost == nil || !w.lost(i, e.Frame)) {
			if err := p.Receive(w.now, e.Frame); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// run advances the time of the peers that stay.
func (w *restarts) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(50 * time.Millisecond) {
		for _, p := range w.stay {
			p.Tick(w.now)
		}
		for more := true; more; {
			more = false
			for _, p := range w.stay {
				for _, e := range p.Ready().Envelopes {
					more = true
					w.sizes[firstKind(e.Frame)] = len(e.Frame)
					if w.sent != nil {
						w.sent(e)
					}
					w.deliver(e)
				}
			}
		}
	}
}

const (
	deltasKind  = 1
	digestKind  = 5
	requestKind = 6
)

// firstKind returns the kind of a frame's first section after the table of actors.
func firstKind(frame []byte) uint64 {
	r := wire.NewReader(frame)
	r.ArrayLen()
	r.Skip()
	if r.Uint() != 0 {
		return 1
	}
	r.Skip()
	r.ArrayLen()
	r.Skip()
	r.ArrayLen()
	return r.Uint()
}

// remember makes the peers that stay know n lives that have ended.
func (w *restarts) remember(n int) {
	known := clock.NewContext()
	for w.lives < n {
		w.lives++
		known.AddRange(w.life(), 1, 3)
	}
	for _, p := range w.stay {
		p.Store().Adopt(known)
		p.engine.Retire(w.now)
	}
}

// costs starts and ends lives until there were n, and returns the sizes of the frames in which
// peers compare what they have seen.
func costs(t testing.TB, n, before int) (digest, request, named int) {
	w := newRestarts(t)
	w.remember(before)
	for w.lives < n {
		w.restart()
		if w.lives%200 == 0 {
			w.run(6 * time.Second)
		}
	}
	w.run(3 * time.Minute)
	w.sizes = map[uint64]int{}
	w.lost = func(to int, frame []byte) bool { return to == 1 && firstKind(frame) == 1 } // the loss makes the peer ask for a sync
	v, err := crdt.ValueOf("lost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.stay[0].Write(w.now, false, crdt.Op{Verb: crdt.Put, Key: "last", Value: v}); err != nil {
		t.Fatal(err)
	}
	w.run(100 * time.Millisecond)
	w.lost = func(to int, frame []byte) bool { k := firstKind(frame); return k != digestKind && k != requestKind }
	w.run(time.Second)
	digest, request = w.sizes[digestKind], w.sizes[requestKind]
	w.lost = nil
	w.run(10 * time.Second)
	a, b := w.stay[0].Store(), w.stay[1].Store()
	if !a.Context().Equal(b.Context()) || a.Sum() != b.Sum() || a.Context().Len() != n+1 {
		t.Fatalf("after %d lives, the peers do not agree: %d and %d actors", n, a.Context().Len(), b.Context().Len())
	}
	return digest, request, len(a.Context().Listed())
}

// Digests, sync requests and the lists of contexts are as small after a million restarts as
// after ten.
func TestManyLivesCostWhatFewDo(t *testing.T) {
	digest, request, named := costs(t, 10, 0)
	if digest == 0 || request == 0 {
		t.Fatalf("a digest of %d bytes, a request of %d", digest, request)
	}
	for _, n := range []int{1000, 10_000, 1_000_000} {
		if d, r, k := costs(t, n, n-min(n, 5000)); d > digest || r > request || k > named {
			t.Errorf("%d lives: digest %d B, request %d B, %d actors named; ten lives: %d B, %d B, %d", n, d, r, k, digest, request, named)
		}
	}
}

// A peer that joins a cluster with a million ended lives gets them in frames of at most half a
// megabyte. Each frame follows when the peer has taken the one before, and is sent once. A
// peer that knows the lives from its disk gets none of them. No peer makes a longer frame.
func TestWhoJoinsIsToldOfAMillionLivesInParts(t *testing.T) {
	const lives, most, longest = 1_000_000, 20_000_000, 512 << 10
	w := newRestarts(t)
	w.remember(lives)
	w.restart()
	w.run(2 * time.Minute)
	said := 0
	w.sent = func(e gossip.Envelope) {
		said += len(e.Frame)
		if len(e.Frame) > longest {
			t.Errorf("a frame of %d B", len(e.Frame))
		}
	}
	meets := func(p *Replica, most int) {
		said, w.stay = 0, append(w.stay[:1], p)
		w.view()
		w.run(10 * time.Second)
		first, s := w.stay[0].Store(), p.Store()
		if !s.Context().Equal(first.Context()) || s.Sum() != first.Sum() || s.Stats().Retired != lives+1 {
			t.Fatalf("they do not agree: %d actors, %d of them retired", s.Context().Len(), s.Stats().Retired)
		}
		if said > most {
			t.Errorf("%d B were sent, at most %d are needed", said, most)
		}
	}
	joins := w.start("joins", clock.Actor{Birth: 2, Rand: 2})
	meets(joins, most)
	returns := w.start("returns", clock.Actor{Birth: 3, Rand: 3})
	returns.Store().Adopt(joins.Store().Context())
	meets(returns, longest)
}

// Two peers that each know many lives unknown to the other come to know all of them.
func TestPeersThatLackManyLivesOfEachOtherAgree(t *testing.T) {
	for _, n := range [][2]int{{300, 100_000}, {100_000, 300}, {40_000, 40_000}, {100_000, 0}} {
		w := newRestarts(t)
		for i, p := range w.stay {
			known := clock.NewContext()
			for k := range n[i] {
				known.AddRange(clock.Actor{Birth: 2 + uint64(k*1_000_000/n[i]), Rand: uint64(i)}, 1, 3)
			}
			p.Store().Adopt(known)
			p.engine.Retire(w.now)
		}
		w.restart()
		w.run(20 * time.Second)
		a, b := w.stay[0].Store(), w.stay[1].Store()
		if want := n[0] + n[1] + 1; !a.Context().Equal(b.Context()) || a.Sum() != b.Sum() || a.Context().Len() != want {
			t.Errorf("%v: they do not agree: %d and %d actors, want %d", n, a.Context().Len(), b.Context().Len(), want)
		}
	}
}

// BenchmarkLives reports the sizes of frames after each number of restarts of one peer.
func BenchmarkLives(b *testing.B) {
	for n := 10; n <= 1_000_000; n *= 10 {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				digest, request, named := costs(b, n, 0)
				b.ReportMetric(float64(digest), "B/digest")
				b.ReportMetric(float64(request), "B/request")
				b.ReportMetric(float64(named), "named")
			}
		})
	}
}

// A peer that was away and a new peer both understand a peer that has retired many lives. A
// late record of a retired life does not count as a new one.
func TestWhoWasAwayMeetsRetiredLives(t *testing.T) {
	w := newRestarts(t)
	var late gossip.Envelope
	for w.lives < 300 {
		w.lost = func(to int, frame []byte) bool { return to == 1 && w.lives > 100 } // the peer is away
		w.restart()
		if w.lives%100 == 0 {
			w.run(10 * time.Second)
		}
		if w.lives == 50 {
			late = w.last
		}
	}
	w.run(2 * time.Minute) // after this time no peer asks for a missing dot any more
	if n := w.stay[0].Store().Stats().Retired; n != 300 {
		t.Fatalf("%d lives are retired", n)
	}
	w.lost = nil
	w.stay = append(w.stay, w.start("stay2", clock.Actor{Birth: 2, Rand: 2}))
	w.view()
	w.run(2 * time.Minute)
	for i, p := range w.stay {
		if s := p.Store(); !s.Context().Equal(w.stay[0].Store().Context()) || s.Sum() != w.stay[0].Store().Sum() || s.Stats().Retired != 300 {
			t.Errorf("peer %d does not agree: %d actors, %d of them retired", i, s.Context().Len(), s.Stats().Retired)
		}
	}
	merged := w.stay[0].Store().Stats().Merged
	if err := w.stay[0].Receive(w.now, late.Frame); err != nil {
		t.Fatal(err)
	}
	if s := w.stay[0].Store(); s.Stats().Merged != merged || s.Sum() != w.stay[1].Store().Sum() {
		t.Error("a late record of a retired life was merged again")
	}
}
