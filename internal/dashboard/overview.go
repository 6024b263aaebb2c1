package dashboard

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// overview loads the front page: the peers, their links, and the rates of reads and writes.
func overview(v *view) (any, error) {
	type data struct {
		Members  []member
		More     int
		Picture  picture
		Charts   []chart
		Keys     int
		Bytes    int
		Removals int
		Pending  int
		Blocking []string
		Workers  map[string]int
		Queues   int
		Findings []verdict.Finding
	}
	members, stats := v.agent.Members(), v.agent.Stats()
	d := data{
		Picture: draw(members), Keys: stats.Store.Keys, Bytes: stats.Store.Memory, Removals: stats.Store.Removals,
		Pending: stats.PendingWrites, Blocking: stats.Blocking, Workers: stats.Workers, Queues: len(stats.Queues),
		Findings: api.Judge(v.ctx, v.agent, v.cfg.Reloads).Findings,
	}
	d.More = max(len(members)-maxRows, 0)
	for _, m := range members[:len(members)-d.More] {
		d.Members = append(d.Members, describeMember(m, v.now))
	}
	line := func(title, unit string, of func(sample) uint64, text func(float64) string) {
		d.Charts = append(d.Charts, plot(title, unit, v.samples.recent(of), v.samples.rates(of), text))
	}
	line("Writes here", "a second", func(s sample) uint64 { return s.writes }, rate)
	line("Merges", "a second", func(s sample) uint64 { return s.merged }, rate)
	line("Conflicts", "a second", func(s sample) uint64 { return s.conflicts }, rate)
	line("Gossip", "a second", func(s sample) uint64 { return s.sent + s.received }, func(x float64) string { return size(int(x)) })
	return d, nil
}

// maxRows is the greatest number of rows on a page.
const maxRows = 100

// member is a peer as its card shows it.
type member struct {
	agent.Member
	Level  string // CSS class: good, wait, bad or none
	Word   string
	Seen   string // the time since it was last heard
	Agreed string // the time since its state was last seen to be equal
	Clock  string // the offset of its clock
	For    string // how long it has been in its state
}

func describeMember(m agent.Member, now time.Time) member {
	c := member{Member: m, Level: []string{"good", "wait", "bad"}[trouble(m)], Word: m.State}
	if m.State == "left" {
		c.Level = "none"
	}
	if m.Self {
		c.Word = "this peer"
		if len(m.Problems) == 0 {
			c.Level = "good"
		}
	}
	if !m.Since.IsZero() {
		c.For = ago(now.Sub(m.Since))
	}
	if !m.Contact.IsZero() {
		c.Seen = ago(now.Sub(m.Contact)) + " ago"
	}
	if !m.AgreedAt.IsZero() {
		c.Agreed = ago(now.Sub(m.AgreedAt)) + " ago"
	}
	if !m.Self {
		c.Clock = m.ClockOffset.Round(time.Millisecond).String()
	}
	return c
}
