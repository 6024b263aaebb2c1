package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script is the description of a run: the world that it begins in, and steps with their
// times. In its text form, each of these is a line, and "#" begins a comment:
//
//	seed 42
//	peers 5
//	batch 20ms
//	disk
//	loss 0.2
//	double 0.1
//	late 3m
//	queue 65536
//	clock 2 skew=1h drift=200
//	locks voters=3 ttl=3s drift=10000
//	key
//	1.25s  2 put color red
//	3s     cut 1,2 | 3,4,5
//
// A step without a time has the time of the step before. The line "run 5s" adds 5 s to that
// time, and "end" marks the end.
type Script struct {
	Config Config
	Steps  []Step        // in the order of time
	Ends   time.Duration // the end of the hostile part, after which all faults heal
}

// Step is one step of a script: see [Cluster.Do].
type Step struct {
	At time.Duration // since the beginning of the run
	Do string
}

// String returns the script in its text form.
func (s Script) String() string {
	var b strings.Builder
	c := s.Config
	fmt.Fprintf(&b, "seed %d\npeers %d\n", c.Seed, c.Peers)
	if c.Batch > 0 {
		fmt.Fprintf(&b, "batch %v\n", c.Batch)
	}
	if c.Disk {
		b.WriteString("disk\n")
	}
	if c.Loss > 0 {
		fmt.Fprintf(&b, "loss %g\n", c.Loss)
	}
	if c.Double > 0 {
		fmt.Fprintf(&b, "double %g\n", c.Double)
	}
	if c.Late > 0 {
		fmt.Fprintf(&b, "late %v\n", c.Late)
	}
	if c.Queue > 0 {
		fmt.Fprintf(&b, "queue %d\n", c.Queue)
	}
	if c.Memory > 0 {
		fmt.Fprintf(&b, "memory %d\n", c.Memory)
	}
	if k := c.Locks; k.Voters > 0 {
		fmt.Fprintf(&b, "locks voters=%d", k.Voters)
		if k.MaxTTL > 0 {
			fmt.Fprintf(&b, " ttl=%v", k.MaxTTL)
		}
		if k.Drift > 0 {
			fmt.Fprintf(&b, " drift=%d", k.Drift)
		}
		b.WriteString("\n")
	}
	if c.Key {
		b.WriteString("key\n")
	}
	for i, k := range c.Clocks {
		if k == (Clock{}) {
			continue
		}
		fmt.Fprintf(&b, "clock %d skew=%v drift=%g", i+1, k.Skew, k.Drift)
		if k.Boot != 0 {
			fmt.Fprintf(&b, " boot=%d", k.Boot)
		}
		b.WriteString("\n")
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "%-12v %s\n", step.At, step.Do)
	}
	if len(s.Steps) == 0 || s.Ends > s.Steps[len(s.Steps)-1].At {
		fmt.Fprintf(&b, "%-12v end\n", s.Ends)
	}
	return b.String()
}

// ParseScript parses and checks the text form of a script. The error names every faulty line.
func ParseScript(text string) (Script, error) {
	var s Script
	var errs []error
	at := time.Duration(0)
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		header, err := s.header(words)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		if header {
			continue
		}
		if d, err := time.ParseDuration(words[0]); err == nil && len(words) > 1 && words[0] != "0" {
			at, words = d, words[1:]
		}
		switch {
		case words[0] == "end":
		case words[0] == "run":
			d, err := duration(words, 1)
			if err != nil {
				errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			}
			at += d
		default:
			s.Steps = append(s.Steps, Step{at, strings.Join(words, " ")})
		}
		s.Ends = max(s.Ends, at)
	}
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return int(a.At - b.At) })
	if len(errs) == 0 {
		errs = append(errs, s.Check())
	}
	return s, errors.Join(errs...)
}

// header parses a line about the world, and reports whether the line is one.
func (s *Script) header(words []string) (bool, error) {
	c := &s.Config
	value := arg(words, 1)
	var err error
	switch words[0] {
	case "seed":
		c.Seed, err = strconv.ParseUint(value, 10, 64)
	case "peers":
		c.Peers, err = strconv.Atoi(value)
	case "queue":
		c.Queue, err = strconv.Atoi(value)
	case "memory":
		c.Memory, err = strconv.Atoi(value)
	case "batch":
		c.Batch, err = duration(words, 1)
	case "late":
		c.Late, err = duration(words, 1)
	case "loss":
		c.Loss, err = strconv.ParseFloat(value, 64)
	case "double":
		c.Double, err = strconv.ParseFloat(value, 64)
	case "disk":
		c.Disk = true
	case "key":
		c.Key = true
	case "clock":
		err = s.clock(words[1:])
	case "locks":
		err = s.locks(words[1:])
	default:
		return false, nil
	}
	return true, err
}

func (s *Script) clock(words []string) error {
	n, err := strconv.Atoi(arg(words, 0))
	if err != nil || n < 1 || n > MaxPeers {
		return fmt.Errorf("clock: a peer from 1 to %d is wanted", MaxPeers)
	}
	for len(s.Config.Clocks) < n {
		s.Config.Clocks = append(s.Config.Clocks, Clock{})
	}
	k := &s.Config.Clocks[n-1]
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "skew":
			k.Skew, err = time.ParseDuration(value)
		case "drift":
			k.Drift, err = strconv.ParseFloat(value, 64)
		case "boot":
			k.Boot, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("clock: skew=, drift= or boot= is wanted, not %q", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Script) locks(words []string) (err error) {
	k := &s.Config.Locks
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "voters":
			k.Voters, err = strconv.Atoi(value)
		case "ttl":
			k.MaxTTL, err = time.ParseDuration(value)
		case "drift":
			k.Drift, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("locks: voters=, ttl= or drift= is wanted, not %q", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Check returns an error that names every faulty step and setting. It carries out no step.
func (s Script) Check() error {
	c, err := New(s.Config)
	if err != nil {
		return err
	}
	var errs []error
	if n := len(s.Config.Clocks); n > c.Peers() {
		errs = append(errs, fmt.Errorf("clock %d: there are %d peers", n, c.Peers()))
	}
	for _, step := range s.Steps {
		if _, err := (steps{c}).compile(step.Do); err != nil {
			errs = append(errs, fmt.Errorf("%v %s: %w", step.At, step.Do, err))
		}
	}
	return errors.Join(errs...)
}
