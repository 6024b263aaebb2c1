package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// look is what one look at a daemon shows, judged.
type look struct {
	Healthy bool                        `json:"healthy"` // the verdict is not fail
	Verdict verdict.Verdict             `json:"verdict"`
	Members []api.Member                `json:"members"`
	Stats   lookStats                   `json:"stats"`
	Queues  map[string]agent.QueueStats `json:"queues"`
	Leases  int                         `json:"leases"` // that the daemon holds for its clients
}

// lookStats are the numbers of /v1/stats that are shown.
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

// look asks the daemon for all that status and top show.
func (c *client) look(ctx context.Context) (*look, error) {
	l := &look{}
	var err error
	if l.Members, err = c.peers(ctx); err != nil {
		return nil, err
	}
	var stats struct {
		lookStats
		Queues map[string]agent.QueueStats `json:"queues"`
		Leases int                         `json:"leases"`
	}
	if err := c.do(ctx, "GET", "/v1/stats", nil, nil, nil, &stats); err != nil {
		return nil, err
	}
	l.Stats, l.Queues, l.Leases = stats.lookStats, stats.Queues, stats.Leases
	if err := c.do(ctx, "GET", "/v1/verdict", nil, nil, nil, &l.Verdict); err != nil {
		return nil, err
	}
	l.Healthy = l.Verdict.Level != verdict.Fail
	return l, nil
}

// peers returns the members that the daemon's peer knows.
func (c *client) peers(ctx context.Context) ([]api.Member, error) {
	var list api.List[api.Member]
	err := c.do(ctx, "GET", "/v1/members", nil, nil, nil, &list)
	return list.Items, err
}

// own says what is wrong with the daemon itself, if it can be reached.
func (c *client) own(ctx context.Context) error {
	err := c.do(ctx, "GET", "/readyz", nil, nil, nil, nil)
	if refused, ok := errors.AsType[*refusal](err); ok {
		return fmt.Errorf("this peer is not ready: %w", refused)
	}
	return err
}

// sentence is the verdict on one line.
func (l *look) sentence() string { return l.Verdict.Level.Word() + ": " + l.Verdict.Summary }

// write prints what fits on one screen, below the verdict.
func (l *look) write(out io.Writer, now time.Time) error {
	for _, f := range l.Verdict.Findings {
		fmt.Fprintf(out, "  %-4s  %s: %s\n        next: %s\n", f.Level, visible(f.What, ""), visible(f.Why, ""), visible(f.Next, ""))
	}
	if l.Stats.alone() {
		fmt.Fprintf(out, "  %s\n", aloneNote)
	}
	peers := newTable(out, "\nPEER\tSTATE\tLAG\tHEARD\tPACKETS\tCLOCK\tADDR\tHTTP")
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
		peers.row(name, m.State, m.Lag, heard, passage(m.Packets), time.Duration(m.ClockOffset).Round(time.Millisecond), m.Addr, m.HTTP)
	}
	if err := peers.w.Flush(); err != nil {
		return err
	}
	if len(l.Queues) > 0 {
		queues := newTable(out, "\nQUEUE\tPENDING\tDELAYED\tCLAIMED\tDONE\tDEAD\tLOST HERE")
		for _, name := range slices.Sorted(maps.Keys(l.Queues)) {
			q := l.Queues[name]
			queues.row(name, q.Depth.Pending, q.Depth.Delayed, q.Depth.Claimed, q.Depth.Done, q.Depth.Dead, q.Lost)
		}
		if err := queues.w.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n", strings.Join(l.numbers(), "   "))
	return err
}

// passage says in a word or two whether UDP passes.
func passage(p agent.Packets) string {
	switch {
	case p == agent.Packets{}:
		return "-"
	case p.To == p.From:
		return p.To
	case p.To == "blocked":
		return "blocked to it"
	case p.From == "blocked":
		return "blocked from it"
	}
	return "unknown"
}

// numbers are the rest, a few words each.
func (l *look) numbers() []string {
	s := l.Stats
	list := []string{
		fmt.Sprintf("keys %d (%s of %s)", s.Store.Keys, bytesText(s.Store.Memory), bytesText(s.Store.Limit)),
		fmt.Sprintf("conflicts %d", s.Conflicts),
		fmt.Sprintf("workers %d", s.Workers[string(agent.WorkerActive)]),
		fmt.Sprintf("leases %d", l.Leases),
		fmt.Sprintf("watches %d", s.Subscriptions),
	}
	if n := s.Workers[string(agent.WorkerUnreachable)]; n > 0 {
		list = append(list, fmt.Sprintf("workers out of sight %d", n))
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
