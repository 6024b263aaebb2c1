package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// fleet is the workers that beat in a run. A worker is alive as long as its lease is
// renewed. Other peers know of it only by heartbeats, which are not retransmitted.
type fleet struct {
	c       *Cluster
	workers map[string]*beating // by the worker's ID
	late    time.Duration       // the greatest extra delay of a heartbeat
}

// beating is a worker, as of its last heartbeat.
type beating struct {
	host  *Peer            // the peer that it last beat at
	life  *replica.Replica // the life of that peer
	ttl   time.Duration    // the longest that the worker used
	ends  time.Duration    // the end of its lease; forever if its host renews it
	beats int              // heartbeats and goodbyes so far
}

// beatInterval is the default of gossip.Config. A lease must last for two of them.
const beatInterval = 5 * time.Second

func (f *fleet) init(c *Cluster) { f.c, f.workers, f.late = c, map[string]*beating{}, c.cfg.Late }

// beat parses "beat WORKER ttl", "host WORKER ttl" and "bye WORKER".
func (c steps) beat(p *Peer, verb string, args []string) (func(), error) {
	id := arg(args, 0)
	if err := gossip.ValidateWorkerID(id); err != nil {
		return nil, err
	}
	if verb == "bye" {
		return func() { c.fleet.bye(p, id) }, nil
	}
	ttl, err := duration(args, 1)
	if err != nil {
		return nil, err
	}
	if ttl < 2*beatInterval || ttl > gossip.MaxHeartbeatTTL {
		return nil, fmt.Errorf("a lease of %v; %v to %v are allowed", ttl, 2*beatInterval, gossip.MaxHeartbeatTTL)
	}
	return func() { c.fleet.beat(p, id, ttl, verb == "host") }, nil
}

// beatVerbs are the verbs of the steps of workers that beat.
var beatVerbs = []string{"beat", "host", "bye"}

// beat has a worker beat at p once, or, if hosted, as long as the life of p lasts.
func (f *fleet) beat(p *Peer, id string, ttl time.Duration, hosted bool) {
	c := f.c
	if !p.up || p.paused {
		return
	}
	renew, ends := p.r.Beat, c.now+ttl
	if hosted {
		renew, ends = p.r.Host, forever
	}
	if err := renew(p.wall(), id, ttl); err != nil {
		c.judge.violate(p.index, "O6: %s takes no heartbeat: %v", p.name, err)
	}
	p.schedule()
	w := f.workers[id]
	switch {
	case w == nil:
		w = &beating{}
		f.workers[id] = w
	case w.ends == forever && w.host.up && w.host.r == w.life:
		return // its host renews the lease already
	}
	w.host, w.life, w.ttl, w.ends = p, p.r, max(w.ttl, ttl), ends
	w.beats++
	beats, sent := w.beats, c.now
	known := sent + max(c.cfg.Batch, 0) + latencyBound
	for _, at := range []time.Duration{known, known + beatInterval} {
		c.At(at, func() { f.alive(id, beats, sent) })
	}
	if !hosted {
		f.expect(id)
	}
}

// bye ends the lease of a worker at its host.
func (f *fleet) bye(p *Peer, id string) {
	w := f.workers[id]
	if w == nil || w.life != p.r || !p.up || p.paused {
		return
	}
	p.r.Release(p.wall(), id)
	p.schedule()
	w.ends = f.c.now
	w.beats++
	f.expect(id)
}

// died ends the leases that p hosts, because the life of p ends.
func (f *fleet) died(p *Peer) {
	for _, id := range sortedKeys(f.workers) {
		if w := f.workers[id]; w.life == p.r && w.ends == forever {
			w.ends = f.c.now
			f.expect(id)
		}
	}
}

// expect plans the check that a worker which stopped is active nowhere (H2).
func (f *fleet) expect(id string) {
	w := f.workers[id]
	beats := w.beats
	f.c.At(w.ends+w.ttl+f.late+time.Second, func() { f.gone(id, beats) })
}

// alive checks that a worker whose heartbeat was sent at a time is active on every peer, if there
// was no fault (H1). Where packets do not pass, a path that nobody has used since the block began
// has to be found out first.
func (f *fleet) alive(id string, beats int, sent time.Duration) {
	c, w := f.c, f.workers[id]
	blocked := c.judge.blockedAt > 0 && c.now < max(c.judge.blockedAt+beatsBlocked, sent+streamBound)
	if blocked || c.judge.hostile || c.now < acquainted || w.beats != beats || w.ends <= c.now+latencyBound {
		return
	}
	for _, p := range c.peers {
		if h, _ := p.r.View().Heartbeat(p.wall(), id); h.State != gossip.Active {
			c.judge.violate(p.index, "H1: %s beats through %s, and on %s it is not active", id, w.host.name, p.name)
		}
	}
}

// gone checks that a worker which stopped is active nowhere, once twice its TTL and the
// delay of its last heartbeats have passed (H2). A peer that was paused or slow meanwhile
// may have just received them, and is left out.
func (f *fleet) gone(id string, beats int) {
	c, w := f.c, f.workers[id]
	if w.beats != beats || w.ends > c.now || c.judge.cloned && c.cfg.Key { // a copy takes packets again that its original took
		return
	}
	for _, p := range c.peers {
		awake := max(p.resumed, p.quick)
		if !p.up || p.held() || p.slow > 0 || awake > 0 && c.now-awake <= 2*w.ttl+f.late {
			continue
		}
		h, known := p.r.View().Heartbeat(p.wall(), id)
		switch {
		case h.State == gossip.Active:
			c.judge.violate(p.index, "H2: %s stopped %v ago, and on %s it is active", id, c.now-w.ends, p.name)
		case known:
			c.reached("a worker that stopped was out of sight")
		default:
			c.reached("a worker that stopped was gone")
		}
	}
}

// settle checks that after healing each worker that beats is active on every peer (H3).
func (f *fleet) settle() {
	c := f.c
	var living []string
	for _, id := range sortedKeys(f.workers) {
		if w := f.workers[id]; w.ends == forever && w.host.up && w.host.r == w.life {
			living = append(living, id)
		}
	}
	if len(living) == 0 || c.judge.cloned {
		return
	}
	everywhere := func(id string) bool {
		return !slices.ContainsFunc(c.peers, func(p *Peer) bool {
			h, _ := p.r.View().Heartbeat(p.wall(), id)
			return h.State != gossip.Active
		})
	}
	for until := c.now + lockPatience + 2*beatInterval; c.now < until && slices.ContainsFunc(living, func(id string) bool { return !everywhere(id) }); {
		c.Run(100 * time.Millisecond)
	}
	for _, id := range living {
		if !everywhere(id) {
			c.judge.violate(f.workers[id].host.index, "H3: healed, %s beats through %s and is not active everywhere", id, f.workers[id].host.name)
		}
	}
	c.reached("a worker beat to the end")
}

// One seed of beatsOneIn has workers that beat, drawn from a stream of their own.
const (
	beatsOneIn = 6
	beatStream = 0xbea7
)

// drawBeats adds workers that beat to a script.
func drawBeats(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, beatStream))
	d.peers = d.script.Config.Peers
	if !d.one(beatsOneIn) {
		return d.script
	}
	for i := range 1 + d.rng.IntN(4) {
		at, p := d.up(d.script.Ends), d.peer()
		ttl := 2*beatInterval + d.up(10*time.Second)
		if d.one(2) {
			d.step(at, "%d host w%d %v", p, i, ttl)
			at += d.up(time.Minute)
		}
		for range d.rng.IntN(4) {
			d.step(at, "%d beat w%d %v", p, i, ttl)
			at += ttl/4 + d.up(ttl/4)
			if d.one(8) {
				p = d.peer() // the worker moves
			}
		}
		if d.one(2) {
			d.step(at, "%d bye w%d", p, i)
		}
	}
	d.trim()
	return d.script
}
