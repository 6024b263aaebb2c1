package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// One seed of queuesOneIn has work queues.
const queuesOneIn = 12

// queues adds a workload of work queues to some scripts, drawn from streams of their own.
func (d *drawer) queues(seed uint64) {
	d.rng = rand.New(rand.NewPCG(seed, 0x71))
	if !d.one(queuesOneIn) {
		return
	}
	c := &d.script.Config
	d.peers = c.Peers
	c.Locks.Voters = max(c.Locks.Voters, min(d.peers, []int{1, 3, 3, 3, 5}[d.rng.IntN(5)]))
	for i := range c.Clocks { // larger differences would let leases of one item overlap
		c.Clocks[i].Skew %= time.Second
	}
	names := []string{"q", "r"}[:1+d.rng.IntN(2)]
	ends := d.script.Ends
	if d.one(2) {
		ends = min(ends, 10*time.Second) // the whole workload in a short time
	}
	for range 3 + d.rng.IntN(20) {
		d.enqueue(d.up(ends), names[d.rng.IntN(len(names))])
	}
	for range 2 + d.rng.IntN(3*d.peers) {
		d.worker(d.up(ends), names[d.rng.IntN(len(names))])
	}
	for range d.rng.IntN(3) {
		d.step(d.up(ends), "%d requeue %s", d.peer(), names[0])
	}
	for range d.rng.IntN(10) {
		d.report(d.up(ends))
	}
	d.rng = rand.New(rand.NewPCG(seed, 0x72))
	for range d.rng.IntN(4) {
		d.mover(d.up(ends), names[d.rng.IntN(len(names))])
	}
	d.trim()
}

// mover draws a worker that claims at one peer and finishes at another, or at the same one.
// In some scripts the first peer stops in order meanwhile.
func (d *drawer) mover(at time.Duration, name string) {
	from, ttl := d.peer(), []time.Duration{time.Second, 2 * time.Second, maxClaim}[d.rng.IntN(3)]
	takes := d.up(ttl)
	d.step(at, "%d work %s %d ttl=%v takes=%v to=%d", from, name, 1+d.rng.IntN(3), ttl, takes, d.peer())
	if !d.well && d.one(2) && d.may("kill") {
		at += d.up(max(takes, time.Millisecond))
		d.step(at, "stop %d", from)
		d.step(at+200*time.Millisecond+d.up(2*ttl), "start %d", from)
	}
}

// enqueue draws an item. Its peer sometimes asks the others to acknowledge it.
func (d *drawer) enqueue(at time.Duration, name string) {
	p := d.peer()
	words := []string{fmt.Sprintf("%d enqueue %s %d", p, name, d.rng.IntN(3))}
	if d.one(3) {
		words = append(words, fmt.Sprintf("priority=%d", d.rng.IntN(3)))
	}
	if d.one(4) {
		words = append(words, fmt.Sprintf("delay=%v", d.up(5*time.Second)))
	}
	if d.one(4) {
		words = append(words, fmt.Sprintf("attempts=%d", 1+d.rng.IntN(3)))
	}
	if d.one(2) {
		words = append(words, fmt.Sprintf("id=%c", 'a'+d.rng.IntN(4)))
	}
	d.step(at, "%s", strings.Join(words, " "))
	if d.one(4) {
		d.step(at, "%d wait", p)
	}
}

// report draws a write of the records that workers keep beside the queue.
func (d *drawer) report(at time.Duration) {
	p, task := d.peer(), d.rng.IntN(3)
	key, value := keyspace.Tasks+strconv.Itoa(task)+keyspace.Progress, quote(map[string]any{"progress": d.rng.IntN(100), "status": "running"})
	switch d.rng.IntN(3) {
	case 0:
		key, value = fmt.Sprintf("%s%d%s/a%d", keyspace.Tasks, task, keyspace.Agents, p), quote(map[string]any{"role": "tester", "step": d.rng.IntN(3)})
	case 1:
		key, value = keyspace.Metrics, quote(map[string]any{fmt.Sprintf("w%d", p): d.rng.IntN(3)})
	}
	d.step(at, "%d patch %s %s", p, key, value)
}

// worker draws a worker, and often a fault of its peer.
func (d *drawer) worker(at time.Duration, name string) {
	p := d.peer()
	ttl := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, maxClaim}[d.rng.IntN(4)]
	takes := d.up(50 * time.Millisecond)
	if d.one(2) {
		takes = d.up(2 * ttl)
	}
	ending := "complete"
	if d.one(2) {
		ending = endings[d.rng.IntN(len(endings))]
	}
	d.step(at, "%d work %s %d ttl=%v takes=%v then=%s", p, name, 1+d.rng.IntN(4), ttl, takes, ending)
	if d.well {
		return
	}
	switch {
	case d.one(8) && d.may("kill"): // with an item in hand
		d.restart(at+d.up(2*ttl), d.up(10*time.Second), p)
	case d.one(8) && d.may("pause"): // for longer than its lease
		at += d.up(ttl)
		d.step(at, "pause %d", p)
		d.step(at+ttl+d.up(ttl), "resume %d", p)
	case d.one(8) && d.may("slow"):
		d.lag(at+takes, name, p, ttl)
	}
}

// lag slows the loops of the voters down just when a worker completes its item and its
// process is paused. The voters then learn of leases sooner than of completions, while
// another worker tries to take the item.
func (d *drawer) lag(at time.Duration, name string, p int, ttl time.Duration) {
	for v := 1; v <= d.script.Config.Locks.Voters; v++ {
		if v != p {
			d.step(at, "slow %d %v", v, ttl+d.up(ttl))
			d.step(at+4*ttl, "slow %d 0s", v)
		}
	}
	d.step(at+time.Millisecond, "%d urgent put reg/k0 3", p)
	d.step(at+d.up(20*time.Millisecond), "%d work %s 2 ttl=%v takes=%v", 1+p%d.peers, name, ttl, 3*ttl)
	at += d.up(30 * time.Millisecond)
	d.step(at, "pause %d", p)
	d.step(at+2*ttl+d.up(ttl), "resume %d", p)
}
