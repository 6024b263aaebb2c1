package sim

import (
	"testing"
)

// seeds of a sweep in the normal test run.
const seeds = 3000

func TestNoSeedViolatesAPromise(t *testing.T) {
	n := uint64(seeds)
	if testing.Short() {
		n = 60
	}
	bad := 0
	met := map[string]int{}
	for seed := range n {
		println(seed)
		r := Seed(seed)
		for k, v := range r.Covered {
			met[k] += v
		}
		if len(r.Violations) > 0 {
			bad++
			if bad <= 12 {
				t.Errorf("seed %d: %d: %s", seed, len(r.Violations), r.Violations[0])
			}
		}
	}
	t.Log(bad, met)
}

func BenchmarkSeed(b *testing.B) {
	for i := uint64(0); b.Loop(); i++ {
		Seed(i)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
}
