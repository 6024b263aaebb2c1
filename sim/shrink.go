package sim

import (
	"strings"
	"time"
)

// Shrink returns a smaller script that violates the same oracle first: with fewer steps,
// fewer kinds of faults and fewer peers. It plays at most tries scripts. If s violates
// nothing, Shrink returns s.
func Shrink(s Script, tries int) Script {
	oracle := failure(s)
	if oracle == "" {
		return s
	}
	fails := func(t Script) bool {
		if tries--; tries < 0 {
			return false
		}
		return failure(t) == oracle
	}
	for {
		before := len(s.Steps)
		s = shrinkSteps(s, fails)
		s = shrinkWorld(s, fails)
		if len(s.Steps) == before || tries < 0 {
			return s
		}
	}
}

// failure returns the oracle that a script violates first, or "".
func failure(s Script) string {
	r, err := s.Run(Options{})
	if err != nil {
		return ""
	}
	if len(r.Violations) > 0 {
		oracle, _, _ := strings.Cut(r.Violations[0], ":")
		return oracle
	}
	if again, _ := s.Run(Options{}); again.Hash != r.Hash {
		return "O12"
	}
	return ""
}

// shrinkSteps removes steps by delta debugging (Zeller, Hildebrandt 2002): it tries to leave
// out ever smaller groups of steps.
func shrinkSteps(s Script, fails func(Script) bool) Script {
	for size := max(len(s.Steps)/2, 1); ; size /= 2 {
		for at := 0; at < len(s.Steps); {
			t := s
			t.Steps = append(append([]Step(nil), s.Steps[:at]...), s.Steps[min(at+size, len(s.Steps)):]...)
			if fails(t) {
				s = t
			} else {
				at += size
			}
		}
		if size <= 1 {
			return s
		}
	}
}

// shrinkWorld removes the faults, clocks, voters and peers that the failure does not need.
func shrinkWorld(s Script, fails func(Script) bool) Script {
	try := func(change func(*Script)) {
		t := s
		t.Config.Clocks = append([]Clock(nil), s.Config.Clocks...)
		change(&t)
		if t.Check() == nil && fails(t) {
			s = t
		}
	}
	try(func(t *Script) { t.Config.Loss = 0 })
	try(func(t *Script) { t.Config.Double = 0 })
	try(func(t *Script) { t.Config.Late = 0 })
	try(func(t *Script) { t.Config.Batch = 0 })
	try(func(t *Script) { t.Config.Disk = false })
	try(func(t *Script) { t.Config.Queue = 0 })
	try(func(t *Script) { t.Config.Clocks = nil })
	try(func(t *Script) { t.Config.Locks = Locks{} })
	try(func(t *Script) { t.Config.Key = false })
	for n := s.Config.Locks.Voters - 1; n > 0; n-- {
		try(func(t *Script) { t.Config.Locks.Voters = n })
	}
	for i := range s.Config.Clocks {
		try(func(t *Script) { t.Config.Clocks[i] = Clock{} })
	}
	for s.Config.Peers > 2 {
		peers := s.Config.Peers
		try(func(t *Script) { t.Config.Peers-- })
		if s.Config.Peers == peers {
			break
		}
	}
	if n := len(s.Steps); n > 0 {
		try(func(t *Script) { t.Ends = t.Steps[n-1].At + time.Second })
	}
	return s
}
