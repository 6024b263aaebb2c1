package sim

import "time"

// Result is the outcome of a run.
type Result struct {
	Seed       uint64         // the seed of the script
	Hash       uint64         // covers every write and every frame, with its time
	Violations []string       // the oracles that failed, at most 20; none is a good run
	Virtual    time.Duration  // virtual time from the beginning to the end
	Settled    time.Duration  // virtual time from the last fault to agreement
	Writes     int            // acknowledged writes; each key of a batch counts
	Bytes      uint64         // bytes that all peers sent, without packet headers
	Covered    map[string]int // how often the run reached each rare state of States
	Moments    []Moment       // the timeline; only with Options.Report
	Samples    []Sample       // the state of the peers over time; only with Options.Report
	Final      string         // the keys and values in the end; only with Options.Report
}

// Options say what a run records beside its outcome.
type Options struct {
	Report bool              // keep Moments, Samples and Final
	Trace  func(line string) // is called for every write, frame and merge
}

// Run plays a script, lets the cluster settle, and judges it. Run fails only if the script
// is faulty: a violation is no error.
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
		c.takeSample()
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

// Seed draws the script of a seed, without bounds, and plays it.
func Seed(seed uint64) Result {
	r, err := Draw(seed, Bounds{}).Run(Options{})
	if err != nil {
		r.Violations = append(r.Violations, "the drawn script is wrong: "+err.Error())
	}
	return r
}
