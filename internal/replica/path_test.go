package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// blocks are ways in which packets are lost while streams work.
var blocks = []struct {
	name  string
	peers int
	mute  func(from, to int) bool
}{
	{"both ways", 2, func(from, to int) bool { return true }},
	{"one way", 2, func(from, to int) bool { return from == 0 }},
	{"the other way", 2, func(from, to int) bool { return from == 1 }},
	{"towards one of three", 3, func(from, to int) bool { return to == 2 }},
	{"from and to one of three", 3, func(from, to int) bool { return to == 2 || from == 2 }},
	{"between all of a tree", 12, func(from, to int) bool { return true }},
	{"one way in a tree", 12, func(from, to int) bool { return from < to }},
}

// After a block begins, a write reaches every peer within two seconds if a stream reaches it.
// Acknowledgements, removals, heartbeats and the knowledge of paths arrive as well.
func TestPacketsAreAShortcutNotACondition(t *testing.T) {
	for _, b := range blocks {
		for _, fromStart := range []bool{false, true} {
			for seed := range uint64(10) {
				t.Run(fmt.Sprint(b.name, fromStart, seed), func(t *testing.T) {
					w := newWorld(t, b.peers, seed, nil)
					if fromStart {
						w.mute = b.mute
					}
					w.run(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
					w.mute = b.mute
					for i := range w.peers {
						w.put(i, fmt.Sprint("small-", i), i)
						w.put(i, "contested", i)
					}
					w.run(2 * time.Second)
					if !w.agree() {
						t.Fatal("the peers differ two seconds after the block")
					}
					for i := range w.peers {
						if err := w.peers[i].Host(w.now, fmt.Sprint("worker-", i), 30*time.Second); err != nil {
							t.Fatal(err)
						}
						w.carry(i)
					}
					w.run(time.Minute)
					for i, p := range w.peers {
						for _, s := range p.View().Peers() {
							if j := slices.IndexFunc(w.peers, func(o *Replica) bool { return o.Actor() == s.Actor }); s.Lag > 0 && b.peers <= 8 || (s.PacketsTo == gossip.Blocked) != b.mute(i, j) || (s.PacketsFrom == gossip.Blocked) != b.mute(j, i) {
								t.Errorf("n%d says of n%d: lag %d, packets to it %v, from it %v", i, j, s.Lag, s.PacketsTo, s.PacketsFrom)
							}
						}
						for _, h := range p.View().Heartbeats(w.now) {
							if h.State != gossip.Active {
								t.Errorf("to n%d %s is %v", i, h.Worker, h.State)
							}
						}
						if n := len(p.View().Heartbeats(w.now)); n != b.peers {
							t.Errorf("n%d knows %d workers", i, n)
						}
					}
					w.put(1, "later", 1)
					w.run(100 * time.Millisecond) // the peers have not tried the path yet
					if b.peers <= 8 && !w.agree() {
						t.Error("the peers differ 100 ms after a write, long after the block")
					}
					w.mute = nil
					w.run(20 * time.Second)
					for i, p := range w.peers {
						for _, s := range p.View().Peers() {
							if s.PacketsTo == gossip.Blocked || s.PacketsFrom == gossip.Blocked {
								t.Errorf("n%d still takes packets for blocked", i)
							}
						}
					}
				})
			}
		}
	}
}

// If packets never pass, each hop of a tree finds that out by itself. Until then the stream
// carries whatever must arrive.
func TestAWriteDoesNotWaitForAVerdictAtEachHop(t *testing.T) {
	for seed := range uint64(15) {
		w := newWorld(t, 40, seed, nil)
		w.mute = func(from, to int) bool { return true }
		for i := 0; i < len(w.peers); i += 3 {
			w.put(i, fmt.Sprint("k", i), 1)
		}
		w.run(700 * time.Millisecond)
		if !w.agree() {
			t.Errorf("seed %d: the peers differ 0.7 s after their first writes", seed)
		}
	}
}

// A peer whose packets do not reach one peer soon knows that of most peers it sends to.
func TestABlockCastsDoubtOnOtherPaths(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, 12, seed, nil)
		w.run(5 * time.Second)
		w.mute = func(from, to int) bool { return true }
		w.put(0, "k", 1)
		w.run(4 * time.Second)
		unnoticed := 0
		for _, p := range w.peers {
			for _, s := range p.View().Peers() {
				if s.PacketsTo == gossip.Passes {
					unnoticed++
				}
			}
		}
		if pairs := len(w.peers) * (len(w.peers) - 1); unnoticed > pairs/3 {
			t.Errorf("seed %d: four seconds after a block %d of %d paths count as open", seed, unnoticed, pairs)
		}
	}
}

// A path that loses many packets, but not all, stays in use.
func TestALossyPathIsNotBlocked(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, 3, seed, nil)
		w.loss = 0.1
		for i := range 1000 {
			w.put(i%3, fmt.Sprint("k", i), i)
			w.run(10 * time.Millisecond)
		}
		var blocked uint64
		for _, p := range w.peers {
			blocked += p.View().Stats().PathsBlocked
		}
		if blocked > 1 {
			t.Errorf("seed %d: %d times packets counted as blocked with one in ten lost", seed, blocked)
		}
	}
}

// A path to a distant peer is slow and does not count as blocked. If it is blocked, the peer
// still notices that.
func TestADistantPeerIsNotBlocked(t *testing.T) {
	for _, rtt := range []time.Duration{150 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond} {
		for seed := range uint64(20) {
			w := newWorld(t, 3, seed, func(cfg *Config) { cfg.Gossip.Seed = seed })
			w.far = rtt / 2
			w.queue = nil // drops the packets that were sent before the delay grew
			w.view()
			for i := range 60 {
				w.put(i%3, fmt.Sprint("k", i), i)
				w.run(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
			}
			for i, p := range w.peers {
				if s := p.View().Stats(); s.PathsBlocked > 0 {
					t.Errorf("seed %d: at %v n%d took packets for blocked %d times", seed, rtt, i, s.PathsBlocked)
				}
			}
			w.mute = func(from, to int) bool { return from == 0 || to == 0 }
			w.put(0, "late", 1)
			w.run(4 * time.Second)
			for _, s := range w.peers[0].View().Peers() {
				if s.PacketsTo != gossip.Blocked {
					t.Errorf("seed %d: four seconds after a block, at %v, packets to a peer %v", seed, rtt, s.PacketsTo)
				}
			}
		}
	}
}
