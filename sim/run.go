package sim

import (
	"time"
)

// Result is the outcome of a run.
type Result struct {
	Seed       uint64
	Hash       uint64 // of everything that was written and sent, and when
	Violations []string
	Virtual    time.Duration // all of it
	Settled    time.Duration // how long agreement took after the last fault
	Writes     int           // acknowledged, a batch's keys each
	Bytes      uint64        // sent by all peers
	Covered    map[string]int
	Moments    []Moment // with Options.Report
	Samples    []Sample
	Final      string // what all hold in the end, with Options.Report
}

// Options say what a run tells beside its outcome.
type Options struct {
	Report bool              // keep moments and samples
	Trace  func(line string) // every write, frame and merge
}

// Run plays a script, settles, and judges. It fails only if the script is wrong.
func (s Script) Run(opt Options) (Result, error) {
	c, err := New(s.Config)
	if err != nil {
		return Result{}, err
	}
	c.watch, c.tracer = opt.Report, opt.Trace
	for _, step := range s.Steps {
		do, err := steps{c}.compile(step.Do)
		if err != nil {
			return Result{}, err
		}
		c.agenda.add(step.At, do)
	}
	if opt.Report {
		c.sample(s.Ends)
	}
	c.Run(s.Ends)
	settled := c.Settle()
	if s.Config.Seed%restsOneIn == 0 {
		c.judge.rested()
	}
	if opt.Report {
		c.look()
	}
	return Result{
		Seed: s.Config.Seed, Hash: c.hash, Violations: c.judge.violations,
		Virtual: c.now, Settled: settled, Writes: len(c.judge.deeds), Bytes: c.Bytes(),
		Covered: c.met, Moments: c.moments, Samples: c.samples, Final: c.finalState(opt.Report),
	}, nil
}

func (c *Cluster) finalState(wanted bool) string {
	if !wanted {
		return ""
	}
	return c.Show(nil)
}

// Seed draws what a seed does and plays it.
func Seed(seed uint64) Result {
	r, err := Draw(seed, Bounds{}).Run(Options{})
	if err != nil {
		r.Violations = append(r.Violations, "the drawn script is wrong: "+err.Error())
	}
	return r
}
