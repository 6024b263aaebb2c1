package verdict

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// well is what the first of three peers knows when nothing is wrong.
func well() Known {
	other := func(name string) agent.Member {
		return agent.Member{Name: name, Addr: name + ":7946", State: "alive", Since: now.Add(-time.Hour), Contact: now, Agrees: true, AgreedAt: now.Add(-3 * time.Second),
			Packets: agent.Packets{To: "pass", From: "unknown"}, Locks: "quorum"}
	}
	return Known{Now: now, Ready: true, Members: []agent.Member{{Name: "n1", State: "alive", Self: true, Since: now.Add(-time.Hour)}, other("n2"), other("n3")},
		Voters: []string{"n1", "n2", "n3"}}
}

func TestEachConditionHasItsFinding(t *testing.T) {
	member := func(i int, f func(m *agent.Member)) func(*Known) { return func(k *Known) { f(&k.Members[i]) } }
	keyed := func(keys ...string) func(*Known) {
		return func(k *Known) {
			for i, list := range keys {
				k.Members[i].Keys = strings.Fields(list)
			}
		}
	}
	down := func(m *agent.Member) { m.State, m.Since = "dead", now.Add(-40*time.Second) }
	for _, c := range []struct {
		name   string
		change func(*Known)
		level  Level
		checks string // in order
		says   string // parts of its texts
	}{
		{"all well", func(*Known) {}, OK, "", "3 of 3 peers alive, converged. Each was compared with n1 within the last 3 seconds"},
		{"alone", func(k *Known) { k.Members, k.Voters = k.Members[:1], nil }, OK, "", "1 of 1 peer alive, this one alone. No other peer is known here"},
		{"one left", member(2, func(m *agent.Member) { m.State = "left" }), Fail, "voters", "2 of 2 peers alive; 2 of 3 voters take part: locks do not outlive the stop of another.|n3 cannot be reached|do not stop another voter: bring n3 back"},
		{"one has just started", func(k *Known) { k.Turnout.Fresh = []lockservice.Fresh{{Voter: "n2", Left: 14 * time.Second}} }, Fail, "voters",
			"3 of 3 peers alive; 2 of 3 voters take part: locks do not outlive the stop of another.|n2 has just started and does not know all leases for 14 seconds more|do not stop another voter: wait for n2"},
		{"one of five has just started", func(k *Known) {
			k.Members = append(k.Members, agent.Member{Name: "n4", State: "alive", Locks: "quorum"}, agent.Member{Name: "n5", State: "alive", Locks: "quorum"})
			for i := range k.Members {
				k.Members[i].Contact = now
			}
			k.Voters, k.Turnout.Fresh = []string{"n1", "n2", "n3", "n4", "n5"}, []lockservice.Fresh{{Voter: "n2", Left: time.Minute}}
		}, Warn, "voters", "4 of 5 voters take part.|60 seconds more"},
		{"one does not answer", func(k *Known) { k.Turnout.Mute = []string{"n3"} }, Fail, "voters", "n3 did not answer in time|look at the log and the load of n3"},
		{"one that started went again", func(k *Known) {
			k.Members[1].State = "left"
			k.Turnout.Mute, k.Turnout.Fresh = []string{"n2"}, []lockservice.Fresh{{Voter: "n2", Left: time.Second}}
		}, Fail, "voters", "2 of 3 voters take part"},
		{"the one voter", func(k *Known) { k.Voters = k.Voters[:1] }, OK, "", ""},
		{"changes", member(2, func(m *agent.Member) { m.Lag, m.Agrees = 14, false }), OK, "", "changes under way. n3 has not acknowledged 14 writes of n1"},
		{"compares", member(2, func(m *agent.Member) { m.Agrees = false }), OK, "", "All writes of n1 are acknowledged by n3;"},
		{"not ready", func(k *Known) { k.Ready = false }, Fail, "ready", "has not synced"},
		{"one down", member(2, down), Fail, "peers voters", "2 of 3 peers alive; n3 out of reach (and 1 more).|since 2026-01-02 03:03:25 UTC, 40 seconds ago|'sentinel-peer forget n3'"},
		{"two down", func(k *Known) { down(&k.Members[1]); down(&k.Members[2]) }, Fail, "voters peers",
			"1 of 3 peers alive; 1 of 3 voters up: no lock and no item can be taken (and 1 more).|2 voters of 3 must certify each lease, and n2 and n3 cannot be reached|start n2 and n3"},
		{"no voters named", func(k *Known) {
			k.Voters, k.Members[1].Locks, k.Members[2].Locks = nil, "this-peer", "this-peer"
			down(&k.Members[2])
		}, Fail, "peers", ""},
		{"no voters here", func(k *Known) { k.Voters = nil }, Warn, "voters", "this peer names no voters, and others do.|again by n2 and n3|start it with the --voters of n2: the same list at every peer"},
		{"no voters there", member(1, func(m *agent.Member) { m.Locks = "this-peer" }), Warn, "voters", "n2 is without voters.|start n2 with --voters n1,n2,n3: the same list at every peer"},
		{"no voters there, and it is down", member(1, func(m *agent.Member) { m.Locks = "this-peer"; down(m) }), Fail, "peers voters", "n2 out of reach"},
		{"lost a moment ago", func(k *Known) {
			k.Turnout.Err = &lockservice.UnavailableError{Reachable: 1, Needed: 2, Silent: []string{"n2", "n3"}}
		}, Fail, "voters", "1 of 3 peers alive; no majority of voters answers|nothing came from n2 and n3|check whether n2 and n3 are running"},
		{"voters do not answer", func(k *Known) { k.Turnout.Err = &lockservice.UnavailableError{Reachable: 1, Needed: 2} }, Fail, "voters", "1 of the 2 needed answered in time"},
		{"voters are quarantined", func(k *Known) {
			k.Turnout.Err = &lockservice.UnavailableError{Reachable: 1, Needed: 2, Quarantine: 12 * time.Second}
		}, Fail, "voters", "12 seconds more|wait for it"},
		{"voters differ", func(k *Known) { k.Turnout.Err = &lockservice.MismatchError{} }, Fail, "voters", "the same --voters"},
		{"asking failed", func(k *Known) { k.Turnout.Err = errors.New("closed") }, Fail, "voters", "closed"},
		{"one key", keyed("a", "a", "a"), OK, "", ""},
		{"two keys everywhere", keyed("a b", "a b", "a b"), OK, "", ""},
		{"a new key at some", keyed("a b", "a", "a b"), Warn, "keys", "key b is not at n2.|it is at n1, n3,|add it behind the old one where it is not"},
		{"a new key elsewhere", keyed("a", "a b", "a"), Warn, "keys", "key b is not at n1, n3.|it is at n2,"},
		{"some seal with it", keyed("b a", "a b", "b a"), Warn, "keys", "not all peers seal with the same key.|sealed is with b by n1, n3; with a by n2|the first in the --key-file"},
		{"the old key is gone at some", keyed("b", "b a", "b"), Warn, "keys", "key a is not at n1, n3.|it is at n2,|take it out where it is"},
		{"sealed too early", keyed("b a", "a", "b a"), Fail, "keys", "n2 lacks the key that this peer seals with.|cannot read what comes from here"},
		{"sealed too early elsewhere", keyed("a", "b a", "a"), Fail, "keys", "this peer lacks the key that n2 seals with.|to the --key-file here|cannot read what comes from there"},
		{"down without the new key", func(k *Known) { keyed("b", "b", "a")(k); down(&k.Members[2]) }, Fail, "peers voters keys keys", "n3 out of reach"},
		{"left without the new key", func(k *Known) { keyed("b", "b", "a")(k); k.Members[2].State = "left" }, Fail, "voters", ""},
		{"keys nowhere else", keyed("a", "", ""), OK, "", ""},
		{"silent", member(1, func(m *agent.Member) { m.Contact = now.Add(-time.Minute) }), Fail, "silence", "n2 is silent"},
		{"never heard", member(1, func(m *agent.Member) { m.Contact = time.Time{} }), Fail, "silence", "nothing was heard of it since it joined 60 minutes ago"},
		{"just joined", member(1, func(m *agent.Member) { m.Contact, m.Since = time.Time{}, now }), OK, "", ""},
		{"clock", member(1, func(m *agent.Member) { m.Problems, m.ClockOffset = []string{"clock skew"}, time.Minute }), Fail, "clock-skew", "n2: clock skew. its clock is off by 1m0s|run NTP"},
		{"twins", member(1, func(m *agent.Member) { m.Problems = []string{"duplicate name", "clone"} }), Fail, "duplicate-name clone", "give each peer a --name of its own"},
		{"behind", member(1, func(m *agent.Member) { m.Lag = behind + 1 }), Warn, "lag", "n2 is far behind"},
		{"packets", func(k *Known) {
			k.Members[1].Packets = agent.Packets{To: "blocked", From: "blocked"}
			k.Members[2].Packets = agent.Packets{To: "pass", From: "blocked"}
		}, Warn, "packets", "UDP does not pass between this peer and n2 and n3.|neither to nor from n2 and not from n3|open UDP"},
		{"packets of who lacks the key", func(k *Known) {
			k.Members[0].Keys, k.Members[1].Keys, k.Members[2].Keys = []string{"new", "old"}, []string{"old"}, []string{"new", "old"}
			k.Members[1].Packets = agent.Packets{To: "blocked", From: "pass"}
		}, Fail, "keys", "n2 lacks the key that this peer seals with"},
		{"memory to spare", func(k *Known) { k.Memory, k.Limit = 79<<20, 100<<20 }, OK, "", ""},
		{"memory without a limit", func(k *Known) { k.Memory = 79 << 30 }, OK, "", ""},
		{"memory short", func(k *Known) { k.Memory, k.Limit = 80<<20, 100<<20 }, Warn, "memory", "nearly full|takes 80 MiB of 100 MiB|--max-memory"},
		{"memory full", func(k *Known) { k.Memory, k.Limit = 101<<20, 100<<20 }, Fail, "memory", "are refused"},
		{"memory of a small store", func(k *Known) { k.Memory, k.Limit = 900<<10, 1<<20 }, Warn, "memory", "takes 900 KiB of 1024 KiB"},
		{"memory of a tiny store", func(k *Known) { k.Memory, k.Limit = 9000, 10000 }, Fail, "memory", "takes 9000 B of 10000 B"},
		{"memory without room for a write", func(k *Known) { k.Memory, k.Limit = 512<<20-400<<10, 512<<20 }, Fail, "memory", "are refused"},
		{"backlog", func(k *Known) { k.Backlog = 40 << 20 }, Warn, "backlog", "40 MiB wait"},
		{"dead items", func(k *Known) { k.Dead, k.DeadIn = 3, Names{1, []string{"mail"}} }, Warn, "dead-items", "3 items dead in mail"},
		{"dead items elsewhere", func(k *Known) { k.Dead, k.DeadIn = 1, Names{1, nil} }, Warn, "dead-items", "1 item dead."},
		{"failed tasks", func(k *Known) { k.Failed = Names{5, []string{"a", "b", "c", "d"}} }, Warn, "failed-tasks", "5 tasks (a, b, c and 1 more) failed"},
		{"abandoned", func(k *Known) { k.Abandoned, k.Unfinished = Names{1, []string{"w1"}}, 2 }, Warn, "abandoned-work", "1 worker (w1) gone with work in hand.|2 tasks said to be at work there"},
		{"refused files", func(k *Known) { k.Refused = []Refused{{"keys", "k1: no key"}, {"tokens", ""}} }, Warn, "reload reload",
			"old keys are in force (and 1 more).|read again: k1: no key|send SIGHUP"},
		{"the worst comes first", func(k *Known) { k.Dead = 1; k.Ready = false }, Fail, "ready dead-items", "(and 1 more)"},
	} {
		k := well()
		c.change(&k)
		v := Judge(k)
		var checks []string
		for _, f := range v.Findings {
			checks = append(checks, f.Check)
			if f.What == "" || f.Why == "" || f.Next == "" {
				t.Errorf("%s: %+v is not whole", c.name, f)
			}
		}
		if got := strings.Join(checks, " "); v.Level != c.level || got != c.checks {
			t.Errorf("%s: %s %q, want %s %q", c.name, v.Level, got, c.level, c.checks)
		}
		rest := v.Summary + " " + v.Detail + " " + v.Next
		for part := range strings.SplitSeq(c.says, "|") {
			if !strings.Contains(rest, part) {
				t.Errorf("%s: %q lacks %q", c.name, rest, part)
			}
		}
	}
}
