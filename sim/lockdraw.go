package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// One seed of locksOneIn has locks, drawn from streams of their own.
const (
	locksOneIn = 3
	lockStream = 0x10c5
	moveStream = 0x10c6 // of bearers that move
)

// drawLocks adds a lock service and its clients to a script.
func drawLocks(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, lockStream))
	d.peers = d.script.Config.Peers
	if !d.one(locksOneIn) || d.script.Config.Locks.Voters > 0 { // a seed with work queues has its own
		return d.script
	}
	k := &d.script.Config.Locks
	k.Voters = min([]int{1, 2, 3, 3, 3, 3, 4, 5}[d.rng.IntN(8)], d.peers)
	k.MaxTTL = []time.Duration{time.Second, 3 * time.Second}[d.rng.IntN(2)]
	k.Drift = []int{10_000, 50_000}[d.rng.IntN(2)]
	if !d.well && d.one(2) && d.may("clock") {
		d.drift(k.Drift)
	}
	if !d.well && d.one(3) && d.may("disk") {
		d.script.Config.Disk = true
	}
	for range 3 + d.rng.IntN(8) {
		d.contend(k)
	}
	if !d.well && d.one(5) {
		d.revise(k)
	}
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, moveStream))
	if !d.well && d.one(3) && d.may("kill") {
		d.move(k)
	}
	d.trim()
	return d.script
}

// move stops and starts the peer of a bearer. The bearer goes on at another peer or at the
// same one, while others ask for the lock.
func (d *drawer) move(k *Locks) {
	at, from, to := d.up(d.script.Ends), d.peer(), d.peer()
	d.step(at, "%d lock l0 ttl=%v bearer", from, k.MaxTTL)
	at += d.up(k.MaxTTL / 2)
	d.step(at, "%d %s", d.peer(), d.want(k, "l0"))
	d.step(at, "stop %d", from)
	d.step(at+200*time.Millisecond, "start %d", from)
	at += 200*time.Millisecond + d.up(k.MaxTTL/2)
	d.step(at, "%d move l0", to)
	d.step(at+d.up(k.MaxTTL/2), "%d renew l0", to)
	d.step(at+d.up(k.MaxTTL), "%d move l0", from)
	d.step(at+d.up(2*k.MaxTTL), "%d unlock l0", from)
}

// drift sets the drift of the boot clocks to the limits that leases allow for.
func (d *drawer) drift(most int) {
	clocks := &d.script.Config.Clocks
	for len(*clocks) < d.peers {
		*clocks = append(*clocks, Clock{})
	}
	slow := d.rng.IntN(2 * d.peers) // one slow clock among fast ones, or any mixture
	for i := range *clocks {
		switch {
		case slow >= d.peers:
			(*clocks)[i].Boot = most * (d.rng.IntN(3) - 1)
		case i == slow:
			(*clocks)[i].Boot = -most
		default:
			(*clocks)[i].Boot = most
		}
	}
}

// contend has some peers ask for one lock at about the same time, and often harms the
// holder meanwhile.
func (d *drawer) contend(k *Locks) {
	at := d.up(d.script.Ends)
	lock := fmt.Sprintf("l%d", d.rng.IntN(2))
	holder := d.peer()
	if d.well || d.one(4) {
		d.step(at, "%d %s", holder, d.want(k, lock))
	} else {
		d.step(at, "%d lock %s ttl=%v hold=%v", holder, lock, k.MaxTTL, k.MaxTTL+d.up(2*k.MaxTTL))
		at += d.up(k.MaxTTL)
		d.harm(k, at, holder, lock)
	}
	for range 1 + d.rng.IntN(3) {
		at += d.up(k.MaxTTL)
		d.step(at, "%d %s", d.peer(), d.want(k, lock))
		if d.one(4) {
			d.step(at, "%d %s %s", holder, []string{"unlock", "renew"}[d.rng.IntN(2)], lock)
		}
		if d.one(4) {
			d.step(at, "%d %s %s stale", d.peer(), []string{"unlock", "renew"}[d.rng.IntN(2)], lock)
		}
	}
}

// want draws the step of one client.
func (d *drawer) want(k *Locks, lock string) string {
	ttl := k.MaxTTL
	if d.one(2) {
		ttl = lockservice.LeastTTL + d.up(k.MaxTTL-lockservice.LeastTTL)
	}
	s := fmt.Sprintf("lock %s ttl=%v wait=%v", lock, ttl, time.Second+d.up(3*k.MaxTTL))
	if d.one(4) {
		s = fmt.Sprintf("trylock %s ttl=%v", lock, ttl)
	}
	if d.one(8) {
		return s + " bearer" // a client that forgets to renew
	}
	s += fmt.Sprintf(" hold=%v", time.Millisecond+d.up(2*k.MaxTTL))
	if d.one(4) {
		s += " shared"
	}
	return s
}

// harm adds a fault of a holder, or of the voters that certified its lease.
func (d *drawer) harm(k *Locks, at time.Duration, holder int, lock string) {
	lasts := d.up(3 * k.MaxTTL)
	voter := func() int { return 1 + d.rng.IntN(k.Voters) }
	faults := []struct {
		name string
		do   func()
	}{
		{"pause", func() {
			if d.one(2) { // while the answer to a renewal is under way
				d.step(at, "%d renew %s", holder, lock)
				lasts = k.MaxTTL*2/3 + d.up(k.MaxTTL/3)
			}
			d.step(at, "pause %d", holder)
			d.step(at+lasts, "resume %d", holder)
		}},
		{"cut", func() { d.isolate(at, lasts, holder, "|") }},
		{"one-way", func() { d.isolate(at, lasts, holder, ">") }},
		{"cut", func() { d.isolate(at, lasts, voter(), "|") }},
		{"suspect", func() {
			for range 1 + d.rng.IntN(4) {
				d.step(at, "suspect %d %d %v", d.peer(), voter(), lasts)
			}
		}},
		{"kill", func() { d.restart(at, lasts, holder) }},
		{"kill", func() { // the clients that wait do not notice
			d.isolate(at, lasts, holder, "|")
			d.restart(at, lasts, voter())
			for range 6 {
				d.step(at+k.MaxTTL*2/3+d.up(k.MaxTTL/2), "%d trylock %s hold=1s", d.peer(), lock)
			}
		}},
		{"kill", func() { d.restart(at, lasts/4, voter()) }},
		{"kill", func() { // a majority forgets the lease
			if d.one(2) {
				d.isolate(at, lasts, holder, "|")
			}
			left := k.Voters/2 + 1
			for v := 1; v <= k.Voters && left > 0; v++ {
				if v != holder {
					d.restart(at+d.up(20*time.Millisecond), d.up(k.MaxTTL/3), v)
					left--
				}
			}
		}},
		{"clock", func() {
			if d.one(3) {
				d.step(at, "freeze %d", holder)
			}
		}},
	}
	if f := faults[d.rng.IntN(len(faults))]; d.may(f.name) {
		f.do()
	}
}

// isolate cuts one peer off.
func (d *drawer) isolate(at, lasts time.Duration, p int, how string) {
	var others []int
	for i := range d.peers {
		if i+1 != p {
			others = append(others, i)
		}
	}
	d.step(at, "cut %d %s %s", p, how, list(others))
	d.step(at+lasts, "heal %d %s %s", p, how, list(others))
}

// restart kills a peer and starts it again.
func (d *drawer) restart(at, lasts time.Duration, p int) {
	d.step(at, "kill %d", p)
	d.step(at+lasts, "start %d", p)
}

// revise changes the list of voters, by one name at a time. It sometimes tries two names,
// which all peers must refuse.
func (d *drawer) revise(k *Locks) {
	most := min(d.peers, lockservice.MaxVoters)
	votes := make([]bool, most)
	count := k.Voters
	for i := range count {
		votes[i] = true
	}
	at := d.up(d.script.Ends)
	for range 1 + d.rng.IntN(4) {
		i := d.rng.IntN(most)
		if votes[i] && count == 1 {
			continue
		}
		if votes[i] {
			count--
		} else {
			count++
		}
		votes[i] = !votes[i]
		var names []int
		for i, v := range votes {
			if v {
				names = append(names, i)
			}
		}
		if d.one(4) && most > 2 { // replaces one voter: two names differ
			d.step(at, "voters %s", list(append(names[1:len(names):len(names)], d.rng.IntN(most))))
		}
		d.step(at, "voters %s", list(names))
		at += d.up([]time.Duration{time.Second, 8 * k.MaxTTL}[d.rng.IntN(2)])
	}
}
