package lockservice

import (
	"flag"
	"testing"
	"time"
)

var (
	checkerSteps = flag.Int("steps", 1_000_000, "steps of the random checker")
	checkerSeed  = flag.Uint64("seed", 1, "first seed of the random checker")
)

// worldSteps is how long each world of the checker lasts.
const worldSteps = 20_000

// Whatever owners believe and networks do, the rules hold: go test -run Checker
// -steps 1000000000 for a long run.
func TestCheckerFindsNoFault(t *testing.T) {
	began := time.Now()
	left, grants := *checkerSteps, 0
	for seed := *checkerSeed; left > 0; seed++ {
		w := newWorld(seed, nil)
		w.run(min(worldSteps, left))
		left -= w.steps
		grants += w.grants
		if len(w.faults) > 0 {
			t.Fatalf("-seed %d, step %d of %+v:\n%s", seed, w.steps, w.plan, w.faults[0])
		}
	}
	if grants < *checkerSteps/1000 {
		t.Errorf("only %d grants in %d steps: the checker checks nothing", grants, *checkerSteps)
	}
	t.Logf("%d steps, %d grants, %v", *checkerSteps, grants, time.Since(began).Round(time.Millisecond))
}
