package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func ready(k *Known) []Finding {
	if k.Ready {
		return nil
	}
	return []Finding{{"ready", Fail, "this peer has not synced with any other yet",
		"it was given peers to join and has met none of them, or is stopping",
		"run 'sentinel-peer doctor' with the settings of this peer: it says which address does not answer"}}
}

// strays finds peers that name no voters while others do.
func strays(k *Known) []Finding {
	var with, without []string
	for _, m := range k.Members {
		switch {
		case m.Self || m.State != "alive":
		case m.Locks == lockservice.Quorum.String():
			with = append(with, m.Name)
		default:
			without = append(without, m.Name)
		}
	}
	switch {
	case len(k.Voters) == 0 && with != nil:
		return []Finding{{"voters", Warn, "this peer names no voters, and others do",
			"what is locked or claimed by it can be locked or claimed again by " + list(with),
			"start it with the --voters of " + with[0] + ": the same list at every peer"}}
	case len(k.Voters) > 0 && without != nil:
		return []Finding{{"voters", Warn, list(without) + " " + are(without) + " without voters",
			"what is locked or claimed there can be locked or claimed again by this peer",
			"start " + list(without) + " with --voters " + strings.Join(k.Voters, ",") + ": the same list at every peer"}}
	}
	return nil
}

// majority fails if no majority of the voters is up.
func majority(k *Known) []Finding {
	if len(k.Voters) == 0 {
		return nil
	}
	away := k.away()
	all, need := len(k.Voters), len(k.Voters)/2+1
	switch here := all - len(away); {
	case here < need:
		return []Finding{{"voters", Fail, fmt.Sprintf("%d of %d voters up: no lock and no item can be taken", here, all),
			fmt.Sprintf("%s of %d must certify each lease, and %s cannot be reached", plural(need, "voter"), all, list(away)),
			"start " + list(away) + ", or check the network between; name other voters only if they are gone for good (docs/locks.md)"}}
	case k.Turnout.Err != nil:
		return []Finding{unanswered(k.Turnout.Err)}
	}
	return nil
}

// away returns the voters that are not up.
func (k *Known) away() []string {
	return slices.DeleteFunc(slices.Clone(k.Voters), func(name string) bool {
		return slices.ContainsFunc(k.Members, func(m agent.Member) bool { return m.Name == name && m.State == "alive" })
	})
}

// spare names the voters that do not take part, or not fully, while a majority does. It fails if
// the stop of one more voter would leave no majority.
func spare(k *Known) []Finding {
	if len(k.Voters) == 0 || majority(k) != nil {
		return nil
	}
	away := k.away()
	missing := len(away)
	var why, next []string
	if len(away) > 0 {
		why, next = append(why, list(away)+" cannot be reached"), append(next, "bring "+list(away)+" back")
	}
	if mute := without(k.Turnout.Mute, away); len(mute) > 0 {
		missing += len(mute)
		why, next = append(why, list(mute)+" did not answer in time"), append(next, "look at the log and the load of "+list(mute))
	}
	for _, f := range k.Turnout.Fresh {
		if !slices.Contains(away, f.Voter) {
			missing++
			why, next = append(why, f.Voter+" has just started and does not know all leases for "+ago(f.Left)+" more"), append(next, "wait for "+f.Voter)
		}
	}
	if missing == 0 {
		return nil
	}
	all := len(k.Voters)
	f := Finding{"voters", Warn, fmt.Sprintf("%d of %d voters take part", all-missing, all), strings.Join(why, "; "), strings.Join(next, "; ")}
	if all-missing <= all/2+1 {
		f.Level = Fail
		f.What += ": locks do not outlive the stop of another"
		f.Next = "do not stop another voter: " + f.Next
	}
	return []Finding{f}
}

// unanswered returns the finding for voters that are up and certify nothing.
func unanswered(err error) Finding {
	f := Finding{"voters", Fail, "no majority of voters answers: no lock and no item can be taken", err.Error(), "look at the logs of the voters"}
	u, short := errors.AsType[*lockservice.UnavailableError](err)
	switch {
	case short && u.Quarantine > 0:
		f.Why = fmt.Sprintf("a voter that has just started is silent until the leases that it certified before its start are over, %s more", ago(u.Quarantine))
		f.Next = "wait for it; the very first start of a voter needs no silence with --first-boot (docs/locks.md)"
	case short && len(u.Silent) > 0:
		f.Why = fmt.Sprintf("%d of the %d needed answered in time; nothing came from %s", u.Reachable, u.Needed, list(u.Silent))
		f.Next = "check whether " + list(u.Silent) + " " + are(u.Silent) + " running and in reach, and start what is not; a peer that is down is known to be so within a minute"
	case short:
		f.Why = fmt.Sprintf("%d of the %d needed answered in time", u.Reachable, u.Needed)
	case errors.Is(err, lockservice.ErrConfigMismatch):
		f.Next = "give every peer the same --voters, --voters-epoch and --max-ttl"
	}
	return f
}

func peers(k *Known) []Finding {
	var names []string
	var since time.Time
	for _, m := range k.Members {
		if m.State != "dead" {
			continue
		}
		names = append(names, m.Name)
		if since.IsZero() || m.Since.Before(since) {
			since = m.Since
		}
	}
	if names == nil {
		return nil
	}
	return []Finding{{"peers", Fail, list(names) + " out of reach",
		"since " + since.UTC().Format(time.DateTime) + " UTC, " + ago(k.Now.Sub(since)) + " ago, without a goodbye",
		"start it, or check the network between; give up on one that is gone for good by 'sentinel-peer forget " + names[0] + "' on every daemon"}}
}

func silent(k *Known) (found []Finding) {
	for _, m := range k.Members {
		if m.Self || m.State != "alive" {
			continue
		}
		since, last := m.Contact, "it was last heard of "
		if since.IsZero() {
			since, last = m.Since, "nothing was heard of it since it joined "
		}
		if k.Now.Sub(since) > silence {
			found = append(found, Finding{"silence", Fail, m.Name + " is silent", last + ago(k.Now.Sub(since)) + " ago, and its machine answers",
				"look at its log and its load; restart it if it hangs"})
		}
	}
	return found
}

// advice says what to do about each problem of a member.
var advice = map[string]string{
	"clone":            "two peers ran from one copy: restart one of them",
	"duplicate name":   "give each peer a --name of its own",
	"clock skew":       "run NTP there: clocks must agree within a minute",
	"rules differ":     "give every peer the same --rule settings",
	"records disputed": "`/v1/stats` says how many; if that peer lies or its memory is broken, stop it, and change the cluster's key if somebody else may have it; else remove the records here too, or wait",
	"two contents":     "its log or that of this peer names the write; test the memory of that machine, and change the cluster's key if somebody else may have it",
}

func problems(k *Known) (found []Finding) {
	for _, m := range k.Members {
		if m.State != "alive" {
			continue
		}
		for _, p := range m.Problems {
			f := Finding{p, Fail, m.Name + ": " + p, "seen of the peer at " + m.Addr, advice[p]}
			if p == "clock skew" {
				f.Why = "its clock is off by " + m.ClockOffset.Round(time.Millisecond).String()
			}
			f.Check = strings.ReplaceAll(p, " ", "-")
			found = append(found, f)
		}
	}
	return found
}

func lagging(k *Known) []Finding {
	var worst agent.Member
	for _, m := range k.Members {
		if m.State == "alive" && m.Lag > worst.Lag {
			worst = m
		}
	}
	if worst.Lag <= behind {
		return nil
	}
	return []Finding{{"lag", Warn, worst.Name + " is far behind", plural(int(worst.Lag), "write") + " of this peer are not acknowledged by it",
		"check its load and the network between"}}
}

func packets(k *Known) []Finding {
	var names, ways []string
	for _, m := range k.Members {
		if m.State != "alive" || !m.Packets.Blocked() || k.keysApart(m) {
			continue
		}
		names = append(names, m.Name)
		switch {
		case m.Packets.To == m.Packets.From:
			ways = append(ways, "neither to nor from "+m.Name)
		case m.Packets.From == "blocked":
			ways = append(ways, "not from "+m.Name)
		default:
			ways = append(ways, "not to "+m.Name)
		}
	}
	if names == nil {
		return nil
	}
	return []Finding{{"packets", Warn, "UDP does not pass between this peer and " + list(names),
		"packets arrive " + list(ways) + "; TCP carries everything, more slowly where the network loses much",
		"open UDP beside TCP at the gossip ports, both ways: firewalls, security groups, 'docker -p …/udp'"}}
}

func memory(k *Known) []Finding {
	if k.Limit == 0 || k.Memory < k.Limit/5*4 {
		return nil
	}
	f := Finding{"memory", Warn, "memory is nearly full", fmt.Sprintf("the store takes %s of %s; beyond, writes here that add to it are refused", size(k.Memory), size(k.Limit)),
		"delete what is not needed, let keys expire (ttl), or raise --max-memory on every peer"}
	if k.Limit-k.Memory < max(k.Limit/1000, smallWrite) {
		f.Level, f.What = Fail, "memory is full: writes here that add to it are refused"
	}
	return []Finding{f}
}

func backlog(k *Known) []Finding {
	if k.Backlog < slowWrites {
		return nil
	}
	return []Finding{{"backlog", Warn, "writes come faster than they are carried out", plural(k.Backlog>>20, "MiB") + " wait; at 64 writers wait too",
		"write less or in batches, or give this peer more of the processor"}}
}

func dead(k *Known) []Finding {
	if k.Dead == 0 {
		return nil
	}
	in := ""
	if len(k.DeadIn.Names) > 0 {
		in = " in " + list(k.DeadIn.Names)
	}
	return []Finding{{"dead-items", Warn, plural(k.Dead, "item") + " dead" + in, "tried too often, or given up by a worker",
		"read the errors ('sentinel-peer queue get QUEUE ID'), then 'queue requeue' or 'queue purge --state dead'"}}
}

func abandoned(k *Known) []Finding {
	if k.Abandoned.Count == 0 {
		return nil
	}
	return []Finding{{"abandoned-work", Warn, k.Abandoned.text("worker") + " gone with work in hand",
		plural(k.Unfinished, "task") + " said to be at work there; the peers they ran beside are down, or their heartbeats ended",
		"bring them back, or give their tasks to others: 'sentinel-peer task list' shows them"}}
}

func failed(k *Known) []Finding {
	if k.Failed.Count == 0 {
		return nil
	}
	return []Finding{{"failed-tasks", Warn, k.Failed.text("task") + " failed", "their status says so",
		"read their errors, then set their status anew or delete them"}}
}

// refused finds files that were refused when they were read again, so that old ones are in force.
func refused(k *Known) (found []Finding) {
	for _, r := range k.Refused {
		why := "the file was refused when it was read again; the daemon's log says why"
		if r.Why != "" {
			why = "when they were read again: " + r.Why
		}
		found = append(found, Finding{"reload", Warn, "old " + r.What + " are in force", why,
			"mend the file, then send SIGHUP to the daemon; 'sentinel-peer doctor' with its settings checks them first"})
	}
	return found
}
