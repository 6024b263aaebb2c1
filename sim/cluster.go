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

// Config is the world that a run begins in.
type Config struct {
	Seed   uint64        // decides the fate of each message, and every delay
	Peers  int           // 1 to MaxPeers; 0 means 3
	Batch  time.Duration // the batch interval of gossip; 0 sends every write at once
	Disk   bool          // each peer keeps its state on a disk
	Loss   float64       // the share of packets that are lost, 0 to 1
	Double float64       // the share of messages that arrive twice, 0 to 1
	Late   time.Duration // the greatest extra delay of one message in twenty
	Clocks []Clock       // the errors of the peers' clocks, in order; further peers have none
	Queue  int           // bytes that may wait for one peer; 0 means 64 KiB
	Memory int           // bytes that the writes of one peer may fill; 0 means no limit
	Rules  []crdt.Rule   // are tried before the default rules
	Locks  Locks         // the lock machines; no voters, no locks
	Key    bool          // packets are sealed with a key, and an attacker replays them
}

// Clock is the error of a peer's clocks.
type Clock struct {
	Skew  time.Duration // the lead of the wall clock when the run begins
	Drift float64       // microseconds that the wall clock gains in a second
	Boot  int           // microseconds that the boot clock, which measures leases, gains in a second
}

// epoch is the wall-clock time when every run begins.
var epoch = time.UnixMilli(1_700_000_000_000)

// maxSkew is the default of gossip.Config.
const maxSkew = time.Minute

// Cluster is a run: peers with their network and their disks, in virtual time. One
// goroutine may use it at a time.
type Cluster struct {
	cfg      Config
	rules    *crdt.Rules
	now      time.Duration // virtual time since the beginning
	thawed   time.Duration // the last time that a frozen boot clock went on
	agenda   agenda
	peers    []*Peer
	owners   map[clock.Actor]*Peer // the peer of each actor
	net      network
	recorder recorder
	judge    judge
	locks    lockJudge
	fleet    fleet
	liar     liar
	barred   func(p *Peer, lock string, token uint64) bool // the voter at p must not certify this token; nil without queues
	met      map[string]int                                // how often each rare state was reached
	hash     uint64
	spins    int // events of the present instant
	next     nextVersion
	spare    [][]byte // free buffers for frames
	memo     memo

	moments []Moment
	samples []Sample
	watch   bool // keep moments and samples
	tracer  func(line string)
}

// New returns a cluster whose peers are up and know each other. It fails if the rules or
// the locks are faulty, or if the number of peers is out of range.
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
			p.disk = new(disk)
		}
		c.peers = append(c.peers, p)
	}
	for _, p := range c.peers {
		p.live(c.actor(p))
	}
	for _, p := range c.peers {
		for j := range p.sees {
			p.sees[j] = sight{lives: 1, alive: true}
		}
		p.setView()
	}
	return c, nil
}

// MaxPeers is the greatest number of peers in a cluster.
const MaxPeers = 2000

// maxSpins is the number of events in one instant from which on the judge says that time
// stands still (O9).
const maxSpins = 100_000

// actor makes the actor of the peer's next life.
func (c *Cluster) actor(p *Peer) clock.Actor {
	p.births++
	return clock.NewActor(p.wall(), uint64(p.index+1)<<32|p.births)
}

// Now returns how much virtual time has passed.
func (c *Cluster) Now() time.Duration { return c.now }

// Peer returns the i-th peer. As in scripts, the first is 1. Peer panics if i is out of range.
func (c *Cluster) Peer(i int) *Peer { return c.peers[i-1] }

// Peers returns the number of peers.
func (c *Cluster) Peers() int { return len(c.peers) }

// At plans a call of f for time t. If t has passed, the call is the next event.
func (c *Cluster) At(t time.Duration, f func()) { c.agenda.add(max(t, c.now), f) }

// Run plays the events of the next d of virtual time.
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

// Violations returns the violations that the oracles have found so far, at most 20.
func (c *Cluster) Violations() []string { return c.judge.violations }

// Settle heals everything, starts every peer that is down, and runs until all peers agree,
// but no longer than the bound that the run's clocks and delays allow. Then the oracles
// judge the outcome. Settle returns how long agreement took.
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
	c.agree() // locks, queues and workers may have written meanwhile
	c.judge.final()
	return took
}

// agree runs until all peers agree, but no longer than the bound.
func (c *Cluster) agree() {
	for until := c.now + c.bound(); c.now < until && !c.Converged(); {
		c.Run(min(100*time.Millisecond, until-c.now))
	}
}

// calm ends every fault but blocks of packets: agreement must be possible by streams alone.
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
			p.setView()
		} else {
			p.start()
		}
	}
	c.changed()
}

// bound returns how long agreement may take. The base is a minute. The peer whose clock is
// furthest behind takes the writes of the one furthest ahead only when their stamps lie
// within its skew, so the rest of the spread is added. After a clone or a torn disk, a
// single peer may know the last writes of the original, or that many records are gone, and
// the others believe it only after outOfSight.
func (c *Cluster) bound() time.Duration {
	bound := time.Minute + max(c.spread()-maxSkew, 0)
	if c.judge.cloned || c.judge.torn {
		bound += outOfSight
	}
	return bound
}

// outOfSight is the time after which peers believe a single peer: about how much a silent
// peer wrote, and about records that are gone (docs/protocol.md).
const outOfSight = 10 * time.Minute

// spread returns the difference between the wall clock furthest ahead and the one furthest
// behind.
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

// Converged reports whether all peers that are up have equal contexts and equal checksums.
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

// Hash returns a hash of the run so far: of every frame and every write, with its time.
func (c *Cluster) Hash() uint64 { return c.hash }

// nameOf returns the name of an actor's peer, with a number from the second life on: n2.3.
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

// Bytes returns the number of bytes of all frames that all peers have sent, without the
// headers of packets.
func (c *Cluster) Bytes() (n uint64) {
	for _, p := range c.peers {
		n += p.sent
	}
	return n
}

// Show returns a text with the keys and values of each peer, one line for all peers whose
// state is the same. A nil match shows all keys. Expiry is judged by the clock that is
// furthest ahead, for all peers alike.
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

// manyKeys is how many keys Show prints where all peers hold the same.
const manyKeys = 16

// fewPeers is the size up to which peers of a cluster are named one by one.
const fewPeers = 12

// ranges returns the numbers of peers, "1 2 5", with runs joined in a large cluster, "1-7 9-100".
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

// batch returns the batch interval in the form that gossip.Config takes.
func (c *Cluster) batch() time.Duration {
	if c.cfg.Batch == 0 {
		return gossip.AtOnce
	}
	return c.cfg.Batch
}
