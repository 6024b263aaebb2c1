package sim

import (
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// seeds of a sweep in the normal test run.
const seeds = 400

func TestNoSeedViolatesAPromise(t *testing.T) {
	n := uint64(seeds)
	if testing.Short() {
		n = 60
	}
	var crashes, cuts, writes int
	for seed := range n {
		r := Run(Config{Seed: seed})
		for _, v := range r.Violations {
			t.Errorf("seed %d: %s", seed, v)
		}
		crashes, cuts, writes = crashes+r.Crashes, cuts+r.Cuts, writes+r.Writes
	}
	if crashes == 0 || cuts == 0 || writes < int(n)*10 {
		t.Errorf("the sweep was too tame: %d crashes, %d cuts, %d writes", crashes, cuts, writes)
	}
}

func TestASeedPlaysAlwaysAlike(t *testing.T) {
	for seed := range uint64(10) {
		if a, b := Run(Config{Seed: seed}), Run(Config{Seed: seed}); a.Hash != b.Hash || a.Virtual != b.Virtual {
			t.Errorf("seed %d: %x, then %x", seed, a.Hash, b.Hash)
		}
	}
}

// Each oracle complains about what it is there for.
func TestTheOraclesComplain(t *testing.T) {
	f := func(oracle string, spoil func(w *world) bool) {
		t.Helper()
		for seed := range uint64(50) {
			spoiled := false
			r := newWorld(Config{Seed: seed}).play(func(w *world) { spoiled = spoil(w) })
			if !spoiled {
				continue
			}
			for _, v := range r.Violations {
				if strings.HasPrefix(v, oracle) {
					return
				}
			}
			t.Errorf("%s did not complain, seed %d: %v", oracle, seed, r.Violations)
			return
		}
		t.Errorf("%s: no seed of 50 could be spoiled", oracle)
	}
	// drop removes key's record from the first n peers.
	drop := func(w *world, n int, key string) bool {
		e, ok := w.peers[0].Store().Render(key, 0)
		if !ok {
			return false
		}
		dot := e.Dot()
		for _, p := range w.peers[:n] {
			p.Store().Drop(dot)
		}
		return true
	}
	kept := func(w *world) string {
		for _, a := range w.judge.acked {
			if e, ok := w.peers[0].Store().Render(a.key, 0); ok && a.safe && !a.gone && strings.HasPrefix(a.key, "once/") && !w.judge.blind[e.Dot()] {
				return a.key
			}
		}
		return ""
	}
	f("O1", func(w *world) bool { k := kept(w); return k != "" && drop(w, 1, k) })
	f("O2", func(w *world) bool { k := kept(w); return k != "" && drop(w, len(w.peers), k) })
	f("O3", func(w *world) bool {
		for _, a := range w.judge.acked {
			if a.safe && a.gone && strings.HasPrefix(a.key, "once/") {
				v, _ := crdt.ValueOf(1)
				_, err := w.peers[0].Write(w.now, false, crdt.Op{Verb: crdt.Put, Key: a.key, Value: v})
				return err == nil
			}
		}
		return false
	})
	f("O4", func(w *world) bool {
		p := w.peers[0]
		w.judge.dots[clock.Dot{Actor: p.Actor(), Seq: p.Store().Last() + 1}] = "somebody"
		v, _ := crdt.ValueOf(1)
		w.judge.write(p, crdt.Op{Verb: crdt.Put, Key: "reg/x", Value: v})
		return true
	})
	f("O5", func(w *world) bool {
		w.judge.queue = -1
		w.judge.changed(w.peers[0])
		return true
	})
}

func BenchmarkSeed(b *testing.B) {
	for i := uint64(0); b.Loop(); i++ {
		Run(Config{Seed: i, Peers: 5})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
}
