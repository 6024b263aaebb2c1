package status

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// look is what a daemon shows at one moment, with its verdict.
type look struct {
	Healthy bool                       `json:"healthy"` // the verdict is not fail
	Verdict verdict.Verdict            `json:"verdict"`
	Members []api.Member               `json:"members"`
	Stats   lookStats                  `json:"stats"`
	Queues  map[string]workqueue.Stats `json:"queues"`
	Leases  int                        `json:"leases"` // the number that the daemon holds for its clients
}

// lookStats is the numbers of /v1/stats that are shown.
type lookStats struct {
	Reads         uint64         `json:"reads"`
	Writes        uint64         `json:"writes"`
	Conflicts     uint64         `json:"conflicts"`
	PendingWrites int            `json:"pending_writes"`
	Subscriptions int            `json:"subscriptions"`
	Workers       map[string]int `json:"workers"`
	Members       map[string]int `json:"members"` // by state
	Guarantee     string         `json:"guarantee"`
	Store         struct {
		Keys   int    `json:"keys"`
		Memory int    `json:"memory"`
		Limit  int    `json:"limit"`
		Merged uint64 `json:"merged"`
	} `json:"store"`
	Transport struct {
		Refused map[string]uint64 `json:"refused"`
		Missing int               `json:"missing"`
	} `json:"transport"`
}

// LookAt asks the daemon for everything that status and top show.
func LookAt(ctx context.Context, c *client.Client) (*look, error) {
	l := &look{}
	var err error
	if l.Members, err = c.Members(ctx); err != nil {
		return nil, err
	}
	var stats struct {
		lookStats
		Queues map[string]workqueue.Stats `json:"queues"`
		Leases int                        `json:"leases"`
	}
	if err := c.Do(ctx, "GET", "/v1/stats", nil, nil, nil, &stats); err != nil {
		return nil, err
	}
	l.Stats, l.Queues, l.Leases = stats.lookStats, stats.Queues, stats.Leases
	if err := c.Do(ctx, "GET", "/v1/verdict", nil, nil, nil, &l.Verdict); err != nil {
		return nil, err
	}
	l.Healthy = l.Verdict.Level != verdict.Fail
	return l, nil
}

// Sentence returns the verdict on one line.
func (l *look) Sentence() string { return l.Verdict.Level.Word() + ": " + l.Verdict.Summary }

// Write prints the part of the screen below the verdict. Silences are counted up to now.
func (l *look) Write(out io.Writer, now time.Time) error {
	for _, f := range l.Verdict.Findings {
		fmt.Fprintf(out, "  %-4s  %s: %s\n        next: %s\n", f.Level, console.Visible(f.What, ""), console.Visible(f.Why, ""), console.Visible(f.Next, ""))
	}
	if l.Stats.alone() {
		fmt.Fprintf(out, "  %s\n", aloneNote)
	}
	peers := console.NewTable(out, "\nPEER\tSTATE\tLAG\tHEARD\tPACKETS\tCLOCK\tADDR\tHTTP")
	for _, m := range l.Members {
		name, heard := m.Name, "-"
		switch {
		case m.Self:
			name += " (this)"
		case !m.Contact.IsZero():
			heard = max(now.Sub(m.Contact), 0).Round(100*time.Millisecond).String() + " ago"
		case m.State == "alive":
			heard = "never"
		}
		peers.Row(name, m.State, m.Lag, heard, passage(m.Packets), time.Duration(m.ClockOffset).Round(time.Millisecond), m.Addr, m.HTTP)
	}
	if err := peers.Flush(); err != nil {
		return err
	}
	if len(l.Queues) > 0 {
		queues := console.NewTable(out, "\nQUEUE\tPENDING\tDELAYED\tCLAIMED\tDONE\tDEAD\tLOST HERE\tLAPSED HERE")
		for _, name := range slices.Sorted(maps.Keys(l.Queues)) {
			q := l.Queues[name]
			queues.Row(name, q.Depth.Pending, q.Depth.Delayed, q.Depth.Claimed, q.Depth.Done, q.Depth.Dead, q.Lost, q.Lapsed)
		}
		if err := queues.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n", strings.Join(l.numbers(), "   "))
	return err
}

// numbers returns the numbers of the last line, a few words each.
func (l *look) numbers() []string {
	s := l.Stats
	list := []string{
		fmt.Sprintf("keys %d (%s of %s)", s.Store.Keys, bytesText(s.Store.Memory), bytesText(s.Store.Limit)),
		fmt.Sprintf("conflicts %d", s.Conflicts),
		fmt.Sprintf("workers %d", s.Workers["active"]),
		fmt.Sprintf("leases %d", l.Leases),
		fmt.Sprintf("watches %d", s.Subscriptions),
	}
	if n := s.Workers["unreachable"]; n > 0 {
		list = append(list, fmt.Sprintf("unreachable workers %d", n))
	}
	for _, why := range slices.Sorted(maps.Keys(s.Transport.Refused)) {
		if n := s.Transport.Refused[why]; n > 0 {
			list = append(list, fmt.Sprintf("refused for %s %d", strings.ReplaceAll(why, "_", " "), n))
		}
	}
	return list
}

func bytesText(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// WarnAlone warns if locks and claims at this daemon exclude nobody at the other peers.
func WarnAlone(ctx context.Context, c *client.Client) {
	var s lookStats
	if c.Do(ctx, "GET", "/v1/stats", nil, nil, nil, &s) == nil && s.alone() {
		console.Tell(aloneNote)
	}
}

const aloneNote = "no voters are named (--voters): locks and claims exclude only the callers of this daemon"

// alone reports whether there are other peers, which locks and claims here do not exclude.
func (s *lookStats) alone() bool {
	return s.Guarantee == lockservice.ThisPeer.String() && s.Members[transport.Alive.String()] > 1
}
