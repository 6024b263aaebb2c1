package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// Config is the world a run begins in.
type Config struct {
	Seed   uint64
	Peers  int           // 3
	Batch  time.Duration // gossip's batch interval; 0 is at once
	Disk   bool          // peers keep their state on a disk each
	Loss   float64       // share of packets that are lost
	Double float64       // share of messages that come twice
	Late   time.Duration // how late one message of twenty may come, at most
	Clocks []Clock       // of the peers in order; who is left out has a good one
	Queue  int           // bytes that may wait for one peer: 64 KiB
	Memory int           // bytes that the writes of one peer may fill: no limit
	Rules  []crdt.Rule   // before the default ones
	Locks  Locks         // none without voters
	Key    bool          // peers have one: a packet is for one life, once, and somebody records them
}

// Clock is what is wrong with a peer's clock.
type Clock struct {
	Skew  time.Duration
	Drift float64 // microseconds gained in a second
	Boot  int     // the same of the clock that measures leases
}

// epoch is when every run begins.
var epoch = time.UnixMilli(1_700_000_000_000)

// maxSkew is the default of gossip.Config.
const maxSkew = time.Minute

// Cluster is a run: peers, their network and their disks in virtual time. It
// belongs to one goroutine.
type Cluster struct {
	cfg      Config
	rules    *crdt.Rules
	now      time.Duration
	thawed   time.Duration // when a clock for leases that stood still went on, the last time
	agenda   agenda
	peers    []*Peer
	owners   map[clock.Actor]*Peer
	net      network
	recorder recorder
	judge    judge
	locks    lockJudge
	fleet    fleet
	liar     liar
	barred   func(p *Peer, lock string, token uint64) bool // what voters certify no more
	met      map[string]int
	hash     uint64
	spins    int // events of this instant
	next     nextVersion
	spare    [][]byte // buffers of frames that were taken
	memo     memo

	moments []Moment
	samples []Sample
	watch   bool // keep moments and samples
	tracer  func(line string)
}

// New returns a cluster whose peers are up and know each other. It fails if the
// rules are faulty.
func New(cfg Config) (*Cluster, error) {
	rules, err := crdt.NewRules(keyspace.Rules(cfg.Rules)...)
	if err != nil {
		return nil, err
	}
	if cfg.Peers == 0 {
		cfg.Peers = 3
	}
	if cfg.Peers < 1 || cfg.Peers > MaxPeers {
		return nil, fmt.Errorf("%d peers; 1 to %d are allowed", cfg.Peers, MaxPeers)
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64 << 10
	}
	if cfg.Locks, err = cfg.Locks.withDefaults(cfg.Peers); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, rules: rules, owners: map[clock.Actor]*Peer{}, met: map[string]int{}, memo: newMemo()}
	c.net.init(c)
	c.recorder.sent = make([][]recorded, cfg.Peers)
	c.judge.init(c)
	c.locks.init(c)
	c.fleet.init(c)
	c.liar.c = c
	for i := range cfg.Peers {
		p := &Peer{clocks: clocks{c: c, index: i}, name: fmt.Sprintf("n%d", i+1), sees: make([]sight, cfg.Peers), voters: c.locks.lists[0]}
		if i < len(cfg.Clocks) {
			p.clock = cfg.Clocks[i]
		}
		if cfg.Disk {
			p.disk = newDisk()
		}
		c.peers = append(c.peers, p)
	}
	for _, p := range c.peers {
		p.live(c.actor(p), nil)
	}
	for _, p := range c.peers {
		for j, q := range c.peers {
			p.sees[j] = sight{lives: 1, alive: true, target: true}
			_ = q
		}
		p.look()
	}
	return c, nil
}

// MaxPeers bounds a cluster.
const MaxPeers = 2000

// maxSpins is how much may happen in one instant.
const maxSpins = 100_000

// actor makes the next identity of a peer. It is a new one at each start.
func (c *Cluster) actor(p *Peer) clock.Actor {
	p.births++
	return clock.NewActor(p.wall(), uint64(p.index+1)<<32|p.births)
}

// Now returns how much virtual time has passed.
func (c *Cluster) Now() time.Duration { return c.now }

// Peer returns the i-th peer, from 1 on as in scripts.
func (c *Cluster) Peer(i int) *Peer { return c.peers[i-1] }

// Peers returns how many there are.
func (c *Cluster) Peers() int { return len(c.peers) }

// At plans f for a time, at once if that has passed.
func (c *Cluster) At(t time.Duration, f func()) { c.agenda.add(max(t, c.now), f) }

// Run lets d of virtual time pass.
func (c *Cluster) Run(d time.Duration) {
	until := c.now + d
	for {
		e, ok := c.agenda.next(until)
		if !ok {
			break
		}
		if e.at > c.now {
			c.spins = 0
		}
		if c.spins++; c.spins > maxSpins {
			c.judge.violate(0, "O9: time stands still at %v", c.now)
			break
		}
		c.now = e.at
		e.happen()
	}
	c.now = until
}

// Violations returns what the oracles have found, at most 20.
func (c *Cluster) Violations() []string { return c.judge.violations }

// Settle heals everything, starts who is down, and runs until all peers agree, for
// at most the bound that the run's clocks and delays allow. Then the oracles judge
// the outcome. It returns how long agreement took.
func (c *Cluster) Settle() time.Duration {
	began := c.now
	c.calm()
	c.agree()
	took := c.now - began
	if c.Converged() {
		c.note(Agreed, 0, "all agree, %v after the last fault", took.Round(time.Millisecond))
	}
	c.judge.work()
	c.locks.settle()
	c.fleet.settle()
	c.agree() // what waited for a slow disk may have been news since
	c.judge.final()
	return took
}

// agree lets time pass until all agree, for at most the bound.
func (c *Cluster) agree() {
	for until := c.now + c.bound(); c.now < until && !c.Converged(); {
		c.Run(min(100*time.Millisecond, until-c.now))
	}
}

// calm ends every fault. Packets that do not pass still do not: streams are enough.
func (c *Cluster) calm() {
	c.cfg.Loss, c.cfg.Double, c.cfg.Late = 0, 0, 0
	c.net.cuts.clear()
	c.liar.leave()
	for _, p := range c.peers {
		p.suspects = nil
		p.pace(0)
		p.thaw()
		p.resume()
		if p.stopping != nil {
			p.kill()
		}
		if p.up {
			p.look()
		} else {
			p.start()
		}
	}
	c.changed()
}

// bound is how long agreement may take: a minute, and until the stamps of the clock
// that is most ahead lie within the skew that the one most behind allows. Of the peer
// whose place a copy took, and has not noticed, one other may alone have seen the last;
// and after a copy or a torn disk, one may alone say of many records that they are gone.
func (c *Cluster) bound() time.Duration {
	bound := time.Minute + max(c.spread()-maxSkew, 0)
	if c.judge.cloned || c.judge.torn {
		bound += outOfSight
	}
	return bound
}

// outOfSight is for how long a peer must not have answered until others believe whoever
// says how much it wrote; and for how long one must say that records are gone.
const outOfSight = 10 * time.Minute

// spread is how far the clocks are apart.
func (c *Cluster) spread() time.Duration {
	if len(c.cfg.Clocks) == 0 {
		return 0
	}
	least, most := c.peers[0].wall(), c.peers[0].wall()
	for _, p := range c.peers {
		if w := p.wall(); w.Before(least) {
			least = w
		} else if w.After(most) {
			most = w
		}
	}
	return most.Sub(least)
}

// Converged reports whether all peers that are up have seen and hold the same.
func (c *Cluster) Converged() bool {
	var first *Peer
	for _, p := range c.peers {
		switch {
		case !p.up:
		case first == nil:
			first = p
		case !agree(p, first):
			return false
		}
	}
	return true
}

// Hash identifies the run so far: everything sent and written, and when.
func (c *Cluster) Hash() uint64 { return c.hash }

// nameOf returns a peer's name, with a number for lives after the first.
func (c *Cluster) nameOf(a clock.Actor) string {
	p := c.owners[a]
	if p == nil {
		return a.String()
	}
	for i, life := range p.lives {
		if life == a && i > 0 {
			return fmt.Sprintf("%s.%d", p.name, i+1)
		}
	}
	return p.name
}

// Bytes returns how many bytes all peers have sent, frames without the headers of
// their packets.
func (c *Cluster) Bytes() (n uint64) {
	for _, p := range c.peers {
		n += p.sent
	}
	return n
}

// Show says what the peers that are up hold at keys that match, alike ones together: what
// has expired by the latest of their clocks has done so for all.
func (c *Cluster) Show(match func(key string) bool) string {
	latest := uint64(0)
	for _, p := range c.peers {
		latest = max(latest, p.millis())
	}
	var order [][]string
	groups := map[string][]int{}
	for i, p := range c.peers {
		held := []string{"down"}
		if p.up {
			held = p.show(match, latest)
		}
		state := strings.Join(held, " ")
		if groups[state] == nil {
			order = append(order, held)
		}
		groups[state] = append(groups[state], i+1)
	}
	var b strings.Builder
	for _, held := range order {
		peers := ranges(groups[strings.Join(held, " ")], len(c.peers))
		if more := len(held) - manyKeys; more > 0 && len(order) == 1 {
			held = append(held[:manyKeys:manyKeys], fmt.Sprintf("and %d more", more))
		}
		fmt.Fprintf(&b, "%s: %s\n", peers, strings.Join(held, " "))
	}
	return b.String()
}

// manyKeys are shown where all peers hold the same.
const manyKeys = 16

// fewPeers are named one by one.
const fewPeers = 12

// ranges names peers: "1 2 5", or of many "1-7 9-100".
func ranges(peers []int, of int) string {
	var words []string
	for i := 0; i < len(peers); i++ {
		first := i
		for of > fewPeers && i+1 < len(peers) && peers[i+1] == peers[i]+1 {
			i++
		}
		word := fmt.Sprint(peers[first])
		if i > first {
			word += fmt.Sprint("-", peers[i])
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// batch is the interval as gossip takes it.
func (c *Cluster) batch() time.Duration {
	if c.cfg.Batch == 0 {
		return gossip.AtOnce
	}
	return c.cfg.Batch
}
