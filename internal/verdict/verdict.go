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

// Level is the level of a finding or a verdict.
type Level string

// These are the levels. A command that judges the cluster exits with 8 on Fail, and with 0
// otherwise.
const (
	OK   Level = "ok"   // nothing needs to be done
	Warn Level = "warn" // everything works, and somebody should look within the day
	Fail Level = "fail" // something that was promised does not work now
)

// rank returns the order of a level, from 0 for OK.
func (l Level) rank() int { return slices.Index([]Level{OK, Warn, Fail}, l) }

// Word returns the level in a word for people.
func (l Level) Word() string {
	return map[Level]string{OK: "healthy", Warn: "warning", Fail: "unhealthy"}[l]
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Check string `json:"check"` // a stable name: ready, voters, peers, ...
	Level Level  `json:"level"`
	What  string `json:"what"`
	Why   string `json:"why"`
	Next  string `json:"next"` // the step to take
}

// Verdict is the judgement on the cluster as one peer sees it.
type Verdict struct {
	Level    Level     `json:"level"`
	Summary  string    `json:"summary"`  // one sentence; it changes only with the state
	Detail   string    `json:"detail"`   // the reason for the summary; it changes all the time
	Next     string    `json:"next"`     // the Next of the first finding, "" if there is none
	Findings []Finding `json:"findings"` // the worst first
}

// Names counts things, and has the names of those that the reader may know.
type Names struct {
	Count int
	Names []string
}

// Known is what a peer knows at one moment. It is for one reader, who may not know all names.
type Known struct {
	Now        time.Time
	Ready      bool
	Members    []agent.Member
	Backlog    int // bytes of writes that are not carried out yet
	Memory     int // bytes that the store uses
	Limit      int // the most bytes that writes here may fill; 0 for no limit
	Voters     []string
	Turnout    lockservice.Turnout // which voters take part; zero without voters
	Dead       int                 // the number of dead items
	DeadIn     Names               // the queues that hold them
	Failed     Names               // failed tasks
	Abandoned  Names               // workers that are unreachable or gone and have tasks
	Unfinished int                 // the number of their tasks
	Refused    []Refused           // the daemon's files that were refused
}

// Refused is a file that the daemon refused when it read it again.
type Refused struct {
	What string // keys, settings, voters, tokens, certificate
	Why  string // the error; "" if the reader may not know it
}

const (
	silence    = 30 * time.Second // a live peer that was not heard for longer is silent
	behind     = 10_000           // the number of unacknowledged writes from which on a peer is far behind
	slowWrites = 32 << 20         // the backlog in bytes to warn of; writes wait from 64 MiB on
	smallWrite = 4 << 10          // a store without room for so many bytes cannot take a useful new key
)

// Judge returns the verdict on what a peer knows.
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

// silent returns the voters that did not answer, so that there is no majority. They may be down
// although the members do not show it yet.
func (k *Known) silent() []string {
	if u, short := errors.AsType[*lockservice.UnavailableError](k.Turnout.Err); short {
		return u.Silent
	}
	return nil
}

// settled describes how far the peers agree. This peer knows which of its writes another has not
// acknowledged, and when it last saw another's state to be equal to its own. It cannot know which
// writes two other peers still owe each other.
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
