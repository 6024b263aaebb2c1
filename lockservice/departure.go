package lockservice

import (
	"errors"
	"time"
)

// departure is a dead instance whose release is not confirmed yet (C4).
type departure struct {
	lock  string
	inst  Inst
	flags uint8
	id    uint64        // the call that had the instance
	told  bool          // the call gets a Left
	from  time.Duration // when it is sent first: the holder may be at work until then
	until time.Duration // when the record has expired anyway
	tries int
	alarm alarm
}

// depart ends the instance of r for good. From the time from on it repeats the release until that
// is confirmed or the TTL has passed (C4). With told the call gets a Left.
func (c *client) depart(t Time, r *request, from time.Duration, told bool) {
	delete(c.current, r.inst)
	c.ended.add(r.inst)
	from = max(from, t.Mono)
	d := &departure{lock: r.Lock, inst: r.inst, flags: r.flags(), id: r.id, told: told, from: from, until: from + r.TTL}
	d.alarm.run = func(t Time) {
		if t.Mono >= d.until {
			c.departed(d, &UnavailableError{Lock: d.lock, Reachable: len(c.n.liveVoters), Needed: c.n.voters.majority(),
				Cause: errors.New("the release was not confirmed; its record expires by itself")})
			return
		}
		c.sendRelease(t, d)
	}
	c.departing[r.inst], c.stopping[r.id] = d, d
	c.sendRelease(t, d)
}

// stopped releases a lease that ran out before its deadline, since its holder has stopped.
func (c *client) stopped(t Time, id uint64) {
	if d := c.stopping[id]; d != nil {
		d.from = t.Mono
		c.sendRelease(t, d)
	}
}

// sendRelease sends a release now or, if its time has not come, then.
func (c *client) sendRelease(t Time, d *departure) {
	if t.Mono < d.from {
		c.n.alarms.set(&d.alarm, d.from)
		return
	}
	delete(c.stopping, d.id)
	to := c.n.owners[shardOf(d.lock)]
	if d.tries > 2 { // the owner may have died without the view showing it yet
		ranked := ranking(shardOf(d.lock), c.n.liveVoters)
		if len(ranked) > 0 {
			to = ranked[d.tries/3%len(ranked)]
		}
	}
	if to != "" {
		c.n.send(to, Message{Kind: Release, Lock: d.lock, Inst: d.inst, Flags: d.flags})
	}
	c.n.alarms.set(&d.alarm, min(t.Mono+c.n.retry(d.tries), d.until))
	d.tries++
}

func (c *client) released(m *Message) {
	if d := c.departing[m.Inst]; d != nil {
		c.departed(d, nil)
	}
}

func (c *client) departed(d *departure, err error) {
	c.n.alarms.stop(&d.alarm)
	delete(c.departing, d.inst)
	if d.told {
		c.n.report(Result{ID: d.id, Event: Left, Err: err})
	}
}
