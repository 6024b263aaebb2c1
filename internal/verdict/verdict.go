package verdict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Level is how bad it is.
type Level string

// The levels. A command that is asked whether all is well exits with 8 on Fail, and with 0
// on the others.
const (
	OK   Level = "ok"   // nothing is to be done
	Warn Level = "warn" // it works, and somebody should look within the day
	Fail Level = "fail" // something that was promised does not work now
)

// rank orders levels.
func (l Level) rank() int { return slices.Index([]Level{OK, Warn, Fail}, l) }

// Word is what a person calls the level.
func (l Level) Word() string {
	return map[Level]string{OK: "healthy", Warn: "warning", Fail: "unhealthy"}[l]
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Check string `json:"check"` // stable: ready, voters, peers, ...
	Level Level  `json:"level"`
	What  string `json:"what"`
	Why   string `json:"why"`
	Next  string `json:"next"` // the step to take
}

// Verdict is how the cluster is, as one peer sees it.
type Verdict struct {
	Level    Level     `json:"level"`
	Summary  string    `json:"summary"`  // one sentence; it changes only with the state
	Detail   string    `json:"detail"`   // why that is said; it changes all the time
	Next     string    `json:"next"`     // of the first finding, "" if there is none
	Findings []Finding `json:"findings"` // the worst first
}

// Names are things that are counted, and the names of those that the reader may know.
type Names struct {
	Count int
	Names []string
}

// Known is what a peer knows at a moment. It is of one reader, who may not know all names.
type Known struct {
	Now        time.Time
	Ready      bool
	Members    []agent.Member
	Backlog    int // bytes written that are not carried out yet
	Memory     int // bytes that the store takes
	Limit      int // of Memory for writes here, 0 for none
	Voters     []string
	Turnout    lockservice.Turnout // of the voters; zero if none are named
	Dead       int                 // items
	DeadIn     Names               // queues that hold them
	Failed     Names               // tasks
	Abandoned  Names               // workers that are out of sight or gone with work in hand
	Unfinished int                 // tasks in their hands
	Refused    []Refused           // of the daemon's files
}

// Refused is something that a daemon was to read again and did not take.
type Refused struct {
	What string // keys, settings, voters, tokens, certificate
	Why  string // "" if the reader may not know
}

const (
	silence    = 30 * time.Second // after which a live peer has been heard of for too long ago
	behind     = 10_000           // writes that a peer lacks and others will soon wait for
	slowWrites = 32 << 20         // bytes of the 64 MiB at which writes wait
	smallWrite = 4 << 10          // bytes: a store without room for so many takes no new key of use
)

// Judge says how the cluster is.
func Judge(k Known) Verdict {
	v := Verdict{Level: OK, Findings: []Finding{}}
	for _, check := range []func(*Known) []Finding{ready, majority, strays, peers, spare, silent, problems, lagging, packets, keys, memory, backlog, dead, abandoned, failed, refused} {
		v.Findings = append(v.Findings, check(&k)...)
	}
	slices.SortStableFunc(v.Findings, func(x, y Finding) int { return cmp.Compare(y.Level.rank(), x.Level.rank()) })
	v.Summary, v.Detail = settled(&k)
	if len(v.Findings) == 0 {
		return v
	}
	first := v.Findings[0]
	v.Level, v.Next, v.Detail = first.Level, first.Next, first.Why
	v.Summary = fmt.Sprintf("%s; %s", count(&k), first.What)
	if more := len(v.Findings) - 1; more > 0 {
		v.Summary += fmt.Sprintf(" (and %d more)", more)
	}
	v.Summary += "."
	return v
}

func count(k *Known) string {
	silent, alive, known := k.silent(), 0, 0
	for _, m := range k.Members {
		if m.State == "alive" && !slices.Contains(silent, m.Name) {
			alive++
		}
		if m.State != "left" {
			known++
		}
	}
	return fmt.Sprintf("%d of %s alive", alive, plural(known, "peer"))
}

// silent are the voters of whom no answer came, so that there is no majority: they may be
// down, although the members do not show it yet.
func (k *Known) silent() []string {
	if u, short := errors.AsType[*lockservice.UnavailableError](k.Turnout.Err); short {
		return u.Silent
	}
	return nil
}

// settled says how far the peers agree. This peer knows which of its writes another has
// not acknowledged, and when it last saw another's state to be equal to its own; it cannot
// know what other two owe each other.
func settled(k *Known) (summary, detail string) {
	var self string
	var differ []string
	var agreed time.Time // the oldest agreement
	var worst agent.Member
	others := 0
	for _, m := range k.Members {
		if m.Self {
			self = m.Name
		}
		if m.Self || m.State != "alive" {
			continue
		}
		others++
		if !m.Agrees {
			differ = append(differ, m.Name)
		}
		if m.Lag > worst.Lag {
			worst = m
		}
		if agreed.IsZero() || m.AgreedAt.Before(agreed) {
			agreed = m.AgreedAt
		}
	}
	head := count(k)
	switch {
	case others == 0:
		return head + ", this one alone.", "No other peer is known here."
	case len(differ) == 0:
		return head + ", converged.", "Each was compared with " + self + " within the last " + ago(k.Now.Sub(agreed)) + ", and held the same."
	case worst.Lag > 0:
		return head + ", changes under way.", worst.Name + " has not acknowledged " + plural(int(worst.Lag), "write") + " of " + self + " yet."
	}
	return head + ", changes under way.", "All writes of " + self + " are acknowledged by " + list(differ) + "; a comparison is yet to come."
}
