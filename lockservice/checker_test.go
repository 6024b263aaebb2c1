package lockservice

import (
	"flag"
	"testing"
	"time"
)

var (
	checkerSteps = flag.Int("steps", 2_000_000, "steps of the random checker")
	checkerSeed  = flag.Uint64("seed", 1, "first seed of the random checker")
)

// worldSteps is the number of steps of each world of the checker.
const worldSteps = 20_000

// The invariants hold whatever owners believe and whatever faults the network has. A long run
// is: go test -run Checker -steps 1000000000 -timeout 0.
func TestCheckerFindsNoFault(t *testing.T) { check(t, *checkerSteps*3/4, nil) }

// The invariants also hold while the list of voters changes step by step.
func TestCheckerFindsNoFaultWhileVotersChange(t *testing.T) {
	check(t, *checkerSteps/4, func(p *plan) {
		p.reload, p.voters, p.clients, p.locks, p.wild = true, 3, 3, 1, true
		p.loss = min(p.loss, 10)
	})
}

func check(t *testing.T, steps int, tune func(*plan)) {
	began := time.Now()
	if testing.Short() {
		steps /= 10
	}
	left, grants := steps, 0
	for seed := *checkerSeed; left > 0; seed++ {
		w := newWorld(seed, tune)
		w.run(min(worldSteps, left))
		left -= w.steps
		grants += w.grants
		if len(w.faults) > 0 {
			t.Fatalf("-seed %d, step %d of %+v:\n%s", seed, w.steps, w.plan, w.faults[0])
		}
	}
	if grants < steps/5000 {
		t.Errorf("only %d grants in %d steps: the checker checks nothing", grants, steps)
	}
	t.Logf("%d steps, %d grants, %v", steps, grants, time.Since(began).Round(time.Millisecond))
}
