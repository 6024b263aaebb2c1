package lockservice

import (
	"slices"
	"time"
)

// Turnout is how the voters took part when they were asked last.
type Turnout struct {
	Err   error    // nil if a majority takes part, else an *UnavailableError
	Mute  []string // voters that are up in the view and did not answer
	Fresh []Fresh  // voters that have just started, ordered by name
}

// Fresh is a voter that has just started: it is silent during its quarantine, and after that it
// still lacks leases that were not renewed since. If another voter stops within Left, a lease
// may be lost for want of a majority.
type Fresh struct {
	Voter string
	Left  time.Duration
}

// poll asks every voter that is up whether it takes part.
type poll struct {
	id     uint64
	heard  [MaxVoters]bool          // by index of the voter: it has answered
	voting [MaxVoters]bool          // by index of the voter: its quarantine is over
	fresh  [MaxVoters]time.Duration // by index of the voter: when it stops being fresh
	left   time.Duration            // longest quarantine among the answers
	tries  int
	alarm  alarm
}

// poll starts a poll and returns its ID.
func (c *client) poll(t Time) uint64 {
	c.ids++
	p := &poll{id: c.ids}
	p.alarm.run = func(t Time) {
		if c.unheard(p) {
			c.askVoters(t, p)
		} else {
			c.endPoll(t, p)
		}
	}
	c.polls[p.id] = p
	c.askVoters(t, p)
	return p.id
}

func (c *client) askVoters(t Time, p *poll) {
	for _, name := range c.n.liveVoters {
		if !p.heard[c.n.voters.index(name)] {
			c.n.send(name, Message{Kind: Status, Lock: majorityProbe, Round: p.id})
		}
	}
	c.n.alarms.set(&p.alarm, t.Mono+c.n.retry(p.tries))
	p.tries++
}

// polled notes the answer of the voter with index i. The poll ends once all voters that are up
// have answered.
func (c *client) polled(t Time, p *poll, i int, m *Message) {
	p.heard[i], p.voting[i], p.fresh[i] = true, m.Reason == NoReason, t.Mono+m.Left
	if m.Reason == Quarantined {
		p.left = max(p.left, m.Left)
		p.fresh[i] += c.n.cfg.recall()
	}
	if !c.unheard(p) {
		c.endPoll(t, p)
	}
}

// unheard reports whether a voter that is up has not answered.
func (c *client) unheard(p *poll) bool {
	return slices.ContainsFunc(c.n.liveVoters, func(name string) bool { return !p.heard[c.n.voters.index(name)] })
}

// endPoll reports the answers so far and ends the poll.
func (c *client) endPoll(t Time, p *poll) {
	c.n.alarms.stop(&p.alarm)
	delete(c.polls, p.id)
	var out Turnout
	e := &UnavailableError{Lock: majorityProbe, Needed: c.n.voters.majority(), Quarantine: p.left}
	for i, name := range c.n.voters.Names {
		if p.voting[i] {
			e.Reachable++
		}
		if left := p.fresh[i] - t.Mono; left > 0 {
			out.Fresh = append(out.Fresh, Fresh{name, left})
		}
		if !p.heard[i] {
			e.Silent = append(e.Silent, name)
			if slices.Contains(c.n.liveVoters, name) {
				out.Mute = append(out.Mute, name)
			}
		}
	}
	if e.Reachable < e.Needed {
		out.Err = e
	}
	c.n.report(Result{ID: p.id, Event: Polled, Turnout: &out})
}
