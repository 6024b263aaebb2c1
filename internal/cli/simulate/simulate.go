package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/sim"
)

// simulate is one run of the sim command, with the values of its flags.
type simulate struct {
	bounds   sim.Bounds
	scenario string
	seed     uint64
	seeds    uint64
	jobs     int
	faults   string
	shrink   bool
	trace    bool
	spreads  bool
	progress bool
	html     string
	format   string
	out      io.Writer
	err      *console.Output
}

// New returns the sim command.
func New() *cobra.Command {
	var s simulate
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run clusters in virtual time, break them, and check the outcome",
		Long: `Run the replicas of this program in a simulated network with a virtual clock, under
		cuts, loss, crashes, torn disks and skewed clocks. A seed determines the whole run. The
		run reports what happened, and oracles check it: all peers agree when the faults are
		over, no acknowledged write is lost, nothing deleted returns. The exit code is 1 if an
		oracle finds a violation.

		--scenario takes one of ` + strings.Join(sim.Scenarios(), ", ") + `; or the
		file of a script; or - for a script on standard input.
		--faults takes ` + strings.Join(sim.Faults, ", ") + `; or all, or none.`,
		Example: `  sentinel-peer sim --seed 3
  sentinel-peer sim --scenario split-brain --html report.html
  sentinel-peer sim --seeds 10000
  sentinel-peer sim --spread
  sentinel-peer sim --seed 7 --peers 7 --faults cut,kill --trace`,
		Args: command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out, s.err = cmd.OutOrStdout(), console.Stderr
			return s.run(cmd)
		},
	}
	f := cmd.Flags()
	f.IntVar(&s.bounds.Peers, "peers", 0, "number of peers; 0 draws it from the seed")
	f.DurationVar(&s.bounds.Duration, "duration", 0, "virtual time with faults; 0 draws it from the seed")
	f.StringVar(&s.scenario, "scenario", "", "run this scenario or script, instead of one drawn from the seed")
	f.Uint64Var(&s.seed, "seed", 1, "seed of the run, or the first of several with --seeds")
	f.Uint64Var(&s.seeds, "seeds", 0, "run this many seeds, and report which failed")
	f.IntVar(&s.jobs, "jobs", runtime.GOMAXPROCS(0), "number of seeds that run at the same time, 1 to 1024")
	f.StringVar(&s.faults, "faults", "all", "kinds of faults, separated by commas; or all, or none")
	f.BoolVar(&s.shrink, "shrink", false, "reduce a failing run to the steps that are needed for the failure")
	f.BoolVar(&s.trace, "trace", false, "print every write, frame and merge")
	f.BoolVar(&s.spreads, "spread", false, "measure how fast a write reaches all peers, beside memberlist's broadcast queue")
	f.BoolVar(&s.progress, "progress", false, "print the progress of --seeds even without a terminal")
	f.StringVar(&s.html, "html", "", "write a report of the run to this file")
	f.StringVarP(&s.format, "output", "o", "text", "format of the output: text or json")
	return cmd
}

func (s *simulate) run(cmd *cobra.Command) error {
	switch s.faults {
	case "all":
	case "none":
		s.bounds.Faults = []string{}
	default:
		s.bounds.Faults = strings.Split(s.faults, ",")
	}
	if err := s.bounds.Check(); err != nil {
		return command.Usage(err)
	}
	if s.format != "text" && s.format != "json" {
		return command.Usage(fmt.Errorf("-o %s: want text or json", s.format))
	}
	if s.jobs < 1 || s.jobs > 1024 {
		return command.Usage(fmt.Errorf("--jobs %d: want 1 to 1024", s.jobs))
	}
	if s.spreads {
		if s.seeds > 0 || s.scenario != "" || s.html != "" || s.trace || s.shrink || s.bounds.Peers != 0 || s.bounds.Duration != 0 || s.faults != "all" {
			return command.Usage(errors.New("--spread goes only with --seed and -o: its clusters are those of the project's goals"))
		}
		return s.spread()
	}
	if s.seeds > 0 {
		if s.scenario != "" || s.html != "" || s.trace {
			return command.Usage(errors.New("--seeds cannot be combined with --scenario, --html or --trace: those are for one run"))
		}
		return s.sweep(cmd.Context())
	}
	script, about, err := s.script(cmd)
	if err != nil {
		return err
	}
	return s.play(script, about)
}

// script returns the script of the one run that is wanted, and what it is about.
func (s *simulate) script(cmd *cobra.Command) (script sim.Script, about string, err error) {
	if s.scenario == "" {
		return sim.Draw(s.seed, s.bounds), "", nil
	}
	if slices.Contains(sim.Scenarios(), s.scenario) {
		script, about, err = sim.Scenario(s.scenario)
	} else {
		var text []byte
		if s.scenario == "-" {
			text, err = io.ReadAll(cmd.InOrStdin())
		} else if text, err = os.ReadFile(s.scenario); errors.Is(err, os.ErrNotExist) {
			return script, "", command.Usage(fmt.Errorf("no scenario and no file %q; scenarios are %s", s.scenario, strings.Join(sim.Scenarios(), ", ")))
		}
		if err == nil {
			script, err = sim.ParseScript(string(text))
		}
	}
	if err != nil {
		return script, "", command.Usage(fmt.Errorf("scenario %s: %w", s.scenario, err))
	}
	if cmd.Flags().Changed("seed") {
		script.Config.Seed = s.seed
	}
	if n := s.bounds.Peers; n > 0 {
		script.Config.Peers = n
	}
	if d := s.bounds.Duration; d > 0 {
		script.Ends = d
	}
	if err := script.Check(); err != nil {
		return script, "", command.Usage(fmt.Errorf("scenario %s: %w", s.scenario, err))
	}
	return script, about, nil
}

// play runs one script and reports on it.
func (s *simulate) play(script sim.Script, about string) error {
	opt := sim.Options{Report: s.format == "text" || s.html != ""}
	if s.trace {
		opt.Trace = func(line string) { fmt.Fprintln(s.out, line) }
	}
	r, err := script.Run(opt)
	if err != nil {
		return command.Usage(err)
	}
	if s.html != "" {
		if err := s.report(script, r); err != nil {
			return err
		}
	}
	if s.format == "json" {
		if err := s.json(r); err != nil {
			return err
		}
	} else {
		s.tell(script, about, r)
	}
	if len(r.Violations) == 0 {
		if s.shrink {
			fmt.Fprintln(s.err, "Nothing to reduce: no oracle found a violation.")
		}
		return nil
	}
	if s.shrink {
		small := sim.Shrink(script, 5000)
		fmt.Fprintf(s.err, "\nThe steps that are needed for the failure:\n\n%s\nReplay: sentinel-peer sim --scenario - --trace < this\n", small)
	}
	return fmt.Errorf("%d violations; replay: %s", len(r.Violations), s.replay(r.Seed))
}

func (s *simulate) report(script sim.Script, r sim.Result) error {
	f, err := os.Create(s.html)
	if err != nil {
		return command.Usage(fmt.Errorf("--html: %w", err))
	}
	return errors.Join(sim.WriteReport(f, script, r, sim.ReportOptions{Command: s.replay(r.Seed)}), f.Close())
}

// replay returns the command line that runs a seed again.
func (s *simulate) replay(seed uint64) string {
	words := []string{"sentinel-peer sim"}
	if s.scenario != "" {
		words = append(words, "--scenario", s.scenario)
	}
	words = append(words, fmt.Sprint("--seed ", seed))
	if s.bounds.Peers > 0 {
		words = append(words, fmt.Sprint("--peers ", s.bounds.Peers))
	}
	if s.bounds.Duration > 0 {
		words = append(words, fmt.Sprint("--duration ", s.bounds.Duration))
	}
	if s.faults != "all" {
		words = append(words, "--faults", s.faults)
	}
	return strings.Join(words, " ")
}

func (s *simulate) json(r sim.Result) error {
	violations := r.Violations
	if violations == nil {
		violations = []string{}
	}
	return json.NewEncoder(s.out).Encode(map[string]any{
		"seed": r.Seed, "hash": fmt.Sprintf("%016x", r.Hash), "ok": len(r.Violations) == 0,
		"violations": violations, "virtual_seconds": r.Virtual.Seconds(),
		"settled_seconds": r.Settled.Seconds(), "writes": r.Writes, "bytes": r.Bytes,
	})
}

// tell prints the timeline of a run.
func (s *simulate) tell(script sim.Script, about string, r sim.Result) {
	if about != "" {
		fmt.Fprintf(s.out, "%s\n\n", about)
	}
	fmt.Fprintf(s.out, "seed %d: %d peers, %v, %d steps\n\n", r.Seed, script.Config.Peers, script.Ends, len(script.Steps))
	for _, m := range sim.Timeline(r) {
		fmt.Fprintln(s.out, m)
	}
	fmt.Fprintf(s.out, "\nAt the end, the peers grouped by what they hold:\n\n%s\n", r.Final)
	verdict := fmt.Sprintf("agreed %v after the last fault", r.Settled.Round(time.Millisecond))
	if len(r.Violations) > 0 {
		verdict = fmt.Sprintf("VIOLATED: %s", r.Violations[0])
	}
	fmt.Fprintf(s.out, "%s; %d writes, %d B sent in %v of virtual time; trace %016x\n", verdict, r.Writes, r.Bytes, r.Virtual.Round(time.Millisecond), r.Hash)
}

// sweepGC is the GC percentage of a sweep. It trades memory for time: the runs hold about 4 MiB,
// so that the heap grows to some 80 MiB between collections.
const sweepGC = 2000

// sweep runs many seeds.
func (s *simulate) sweep(ctx context.Context) error {
	var (
		mu      sync.Mutex // guards the variables below
		next    = s.seed
		done    uint64
		virtual time.Duration
		failed  []sim.Result
		covered = map[string]int{}
		wg      sync.WaitGroup
	)
	defer debug.SetGCPercent(debug.SetGCPercent(sweepGC)) // a run holds little and drops all of it
	began := time.Now()
	live, every := s.err.Terminal, 10*time.Second
	if live {
		every = 500 * time.Millisecond
	}
	for range s.jobs {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				if seed >= s.seed+s.seeds || ctx.Err() != nil {
					return
				}
				r, err := sim.Draw(seed, s.bounds).Run(sim.Options{})
				mu.Lock()
				done++
				virtual += r.Virtual
				for state, n := range r.Covered {
					covered[state] += n
				}
				if err != nil {
					r.Seed, r.Violations = seed, append(r.Violations, err.Error())
				}
				if len(r.Violations) > 0 {
					failed = append(failed, r)
					if live || s.progress {
						s.err.Rewind()
						fmt.Fprintf(s.err, "seed %d: %s\n", seed, r.Violations[0])
					}
				}
				mu.Unlock()
			}
		})
	}
	progress := func() {
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(began)
		rate := float64(done) / took.Seconds()
		left := time.Duration(float64(s.seeds-done) / max(rate, 1) * float64(time.Second))
		s.err.Rewind()
		fmt.Fprintf(s.err, "%d of %d seeds, %.0f a second, %d failed, %v left", done, s.seeds, rate, len(failed), left.Round(time.Second))
		if !live {
			fmt.Fprintln(s.err)
		}
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-finished:
			waiting = false
		case <-tick.C:
			if live || s.progress {
				progress()
			}
		}
	}
	s.err.Rewind()
	slices.SortFunc(failed, func(a, b sim.Result) int { return int(a.Seed) - int(b.Seed) })
	return s.outcome(ctx, done, time.Since(began), virtual, failed, covered)
}

// allReached is the number of seeds from which on every rare state must have been reached.
const allReached = 10_000

func (s *simulate) outcome(ctx context.Context, done uint64, took, virtual time.Duration, failed []sim.Result, covered map[string]int) error {
	var missed []string
	for _, state := range sim.States() {
		if covered[state] == 0 {
			missed = append(missed, state)
		}
	}
	rate := float64(done) / took.Seconds()
	if s.format == "json" {
		seeds := []uint64{}
		for _, r := range failed {
			seeds = append(seeds, r.Seed)
		}
		if err := json.NewEncoder(s.out).Encode(map[string]any{
			"seeds": done, "ok": len(failed) == 0, "failed": seeds, "seeds_per_second": rate,
			"virtual_seconds": virtual.Seconds(), "never_reached": missed, "covered": covered,
		}); err != nil {
			return err
		}
	} else {
		for _, r := range failed[:min(len(failed), 20)] {
			fmt.Fprintf(s.out, "seed %d: %s\n   replay: %s\n", r.Seed, r.Violations[0], s.replay(r.Seed))
		}
		fmt.Fprintf(s.out, "%d seeds in %v, %.0f a second, %v of virtual time: %d failed\n", done, took.Round(time.Millisecond), rate, virtual.Round(time.Second), len(failed))
		if len(missed) > 0 {
			fmt.Fprintf(s.out, "never reached: %s\n", strings.Join(missed, "; "))
		}
	}
	if len(failed) > 0 && s.shrink {
		small := sim.Shrink(sim.Draw(failed[0].Seed, s.bounds), 5000)
		fmt.Fprintf(s.err, "\nThe steps of seed %d that are needed for the failure:\n\n%s", failed[0].Seed, small)
	}
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d of %d seeds failed", len(failed), done)
	case ctx.Err() != nil:
		return fmt.Errorf("stopped after %d of %d seeds", done, s.seeds)
	case done >= allReached && len(missed) > 0 && s.faults == "all":
		return fmt.Errorf("%d seeds never reached %d of the rare states that so many seeds must reach", done, len(missed))
	}
	return nil
}
