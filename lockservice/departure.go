package lockservice

import (
	"errors"
	"time"
)

// departures are the dead instances of a client whose releases are not confirmed yet (C4).
type departures struct {
	n        *Node
	open     map[Inst]*departure
	stopping map[uint64]*departure // by call: those of leases that have run out, until their deadlines
}

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

func newDepartures(n *Node) departures {
	return departures{n: n, open: make(map[Inst]*departure), stopping: make(map[uint64]*departure)}
}

// begin repeats the release of r's instance, from the time from on, until it is confirmed or the
// TTL has passed. With told the call gets a Left.
func (ds *departures) begin(t Time, r *request, from time.Duration, told bool) {
	from = max(from, t.Mono)
	d := &departure{lock: r.Lock, inst: r.inst, flags: r.flags(), id: r.id, told: told, from: from, until: from + r.TTL}
	d.alarm.run = func(t Time) {
		if t.Mono >= d.until {
			ds.end(d, &UnavailableError{Lock: d.lock, Reachable: len(ds.n.liveVoters), Needed: ds.n.voters.majority(),
				Cause: errors.New("the release was not confirmed; its record expires by itself")})
			return
		}
		ds.send(t, d)
	}
	ds.open[r.inst], ds.stopping[r.id] = d, d
	ds.send(t, d)
}

// stopped sends the release of a lease that has run out before its deadline, since its holder has
// stopped.
func (ds *departures) stopped(t Time, id uint64) {
	if d := ds.stopping[id]; d != nil {
		d.from = t.Mono
		ds.send(t, d)
	}
}

// send sends a release, or waits until its time comes.
func (ds *departures) send(t Time, d *departure) {
	if t.Mono < d.from {
		ds.n.alarms.set(&d.alarm, d.from)
		return
	}
	delete(ds.stopping, d.id)
	to := ds.n.owners[shardOf(d.lock)]
	if d.tries > 2 { // the owner may have died without the view showing it yet
		ranked := ranking(shardOf(d.lock), ds.n.liveVoters)
		if len(ranked) > 0 {
			to = ranked[d.tries/3%len(ranked)]
		}
	}
	if to != "" {
		ds.n.send(to, Message{Kind: Release, Lock: d.lock, Inst: d.inst, Flags: d.flags})
	}
	ds.n.alarms.set(&d.alarm, min(t.Mono+ds.n.retry(d.tries), d.until))
	d.tries++
}

func (ds *departures) confirmed(m *Message) {
	if d := ds.open[m.Inst]; d != nil {
		ds.end(d, nil)
	}
}

func (ds *departures) end(d *departure, err error) {
	ds.n.alarms.stop(&d.alarm)
	delete(ds.open, d.inst)
	if d.told {
		ds.n.report(Result{ID: d.id, Event: Left, Err: err})
	}
}
