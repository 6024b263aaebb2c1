package status

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

var updateTop = flag.Bool("update", false, "rewrite the golden screens of top")

// The screens of the live view match the golden text, one after the other.
func TestTopShowsWhatItSees(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	glance := func(writes uint64, second time.Duration, problems ...string) seen {
		l := &look{Healthy: len(problems) == 0, Members: api.MembersOf([]agent.Member{
			{Name: "n1", State: "alive", Self: true, Addr: "10.0.0.1:7946", HTTP: "127.0.0.1:7700"},
			{Name: "n\x1b[2J2", State: "alive", Lag: 3, Addr: "10.0.0.2:7946", HTTP: "127.0.0.1:7700", Contact: at, ClockOffset: 5 * time.Millisecond, Packets: agent.Packets{To: "pass", From: "pass"}},
		})}
		l.Stats.Writes, l.Stats.Store.Keys, l.Stats.Store.Memory, l.Stats.Store.Limit = writes, 12, 3000, 1<<30
		l.Stats.Workers = map[string]int{"active": 2}
		l.Queues = map[string]workqueue.Stats{"mail": {Depth: workqueue.Depth{Pending: 4, Claimed: 1}}}
		l.Verdict = verdict.Verdict{Level: verdict.OK, Summary: "2 of 2 peers alive, converged."}
		for _, p := range problems {
			l.Verdict.Level, l.Verdict.Summary = verdict.Fail, "2 of 2 peers alive; "+problems[0]+"."
			l.Verdict.Findings = append(l.Verdict.Findings, verdict.Finding{Level: verdict.Fail, What: p, Why: "so it is", Next: "see to it"})
		}
		return seen{look: l, at: at.Add(second)}
	}
	var m tea.Model = topModel{interval: time.Second, ask: func() (*look, error) { return nil, errors.New("not asked here") }}
	var screens strings.Builder
	step := func(name string, msgs ...tea.Msg) tea.Cmd {
		var cmd tea.Cmd
		for _, msg := range msgs {
			m, cmd = m.Update(msg)
		}
		screens.WriteString("== " + name + "\n" + m.View().Content + "\n")
		return cmd
	}
	step("nothing seen yet", tea.WindowSizeMsg{Width: 100, Height: 24})
	if step("the first look", glance(10, 0)) == nil {
		t.Error("it does not look again")
	}
	step("the second, with rates", glance(30, 2*time.Second))
	step("unhealthy", glance(30, 4*time.Second, "n2 is down", "locks: no majority"))
	step("the daemon restarts, and counts from 0", glance(5, 5*time.Second))
	step("the daemon is gone", seen{err: errors.New("no daemon at 127.0.0.1:7700"), at: at})
	step("a small terminal", tea.WindowSizeMsg{Width: 40, Height: 8}, glance(5, 6*time.Second))
	step("paused", tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
	if _, cmd := m.Update(wake{}); cmd != nil {
		t.Error("paused, and it looks")
	}
	if cmd := step("goes on", tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}); cmd == nil {
		t.Error("it does not go on")
	} else if _, old := m.Update(wake{}); old != nil {
		t.Error("what was under way before the pause goes on too")
	} else if s, ok := cmd().(seen); !ok || s.err == nil {
		t.Errorf("it looks, and has %v", s)
	}
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); cmd == nil || cmd() != (tea.QuitMsg{}) {
		t.Error("q does not end it")
	}
	if got := screens.String(); strings.Contains(got, "\x1b") {
		t.Errorf("a name moves the cursor: %q", got)
	}
	const file = "testdata/top.golden"
	if *updateTop {
		if err := os.WriteFile(file, []byte(screens.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != screens.String() {
		t.Errorf("%v; make golden rewrites %s; it shows\n%s", err, file, screens.String())
	}
}
