package sim

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Spread compares how fast a write reaches every peer of an idle cluster. Gossip and a
// model of memberlist's broadcast queue, at its default settings, use the same network.
type Spread struct {
	Peers  int
	Loss   float64       // the share of packets that are lost, 0 to 1
	Writes int           // how many writes were measured
	Here   Reach         // by package gossip
	Queue  Reach         // by the broadcast queue
	Goal   time.Duration // of Here.P99; 0: there is none
}

// Reach is the distribution, over many writes, of the time until the last peer has a write.
type Reach struct {
	P50, P99 time.Duration
	Copies   float64 // copies received for each copy needed; 1 is the least
}

// spreadGoals are the goals at 0, 5 and 20 % loss, by the number of peers.
var spreadGoals = map[int][3]time.Duration{
	3:   {10 * time.Millisecond, 30 * time.Millisecond, 75 * time.Millisecond},
	50:  {25 * time.Millisecond, 50 * time.Millisecond, 120 * time.Millisecond},
	500: {40 * time.Millisecond, 75 * time.Millisecond, 200 * time.Millisecond},
}

// MeasureSpread measures the spread of 200-byte writes, one after the other, on one peer
// after the other.
func MeasureSpread(seed uint64, peers int, loss float64, writes int) (Spread, error) {
	s := Spread{Peers: peers, Loss: loss, Writes: writes}
	if i := slices.Index([]float64{0, 0.05, 0.2}, loss); i >= 0 {
		s.Goal = spreadGoals[peers][i]
	}
	c, err := New(Config{Seed: seed, Peers: peers, Loss: loss})
	if err != nil {
		return s, err
	}
	var missing int
	var last time.Duration
	for _, p := range c.peers {
		p.OnChange = func(crdt.Change) { missing, last = missing-1, c.now }
	}
	value, err := crdt.ValueOf(strings.Repeat("x", 200))
	if err != nil {
		return s, err
	}
	c.Run(5 * time.Second) // until the peers know each other
	before := c.received()
	var took []time.Duration
	for i := range writes {
		missing = peers
		began := c.now
		if err := c.peers[i%peers].Write(crdt.Op{Verb: crdt.Put, Key: "spread/" + c.peers[i%peers].name, Value: value}); err != nil {
			return s, err
		}
		for missing > 0 && c.now < began+time.Minute {
			c.Run(10 * time.Millisecond)
		}
		took = append(took, last-began)
		c.Run(time.Second)
	}
	s.Here = reach(took)
	s.Here.Copies = float64(c.received()-before) / float64(writes*(peers-1))
	s.Queue = broadcast(seed, peers, loss, writes)
	return s, nil
}

// received returns the number of deltas that all peers received, duplicates included.
func (c *Cluster) received() (n uint64) {
	for _, p := range c.peers {
		stats := p.r.Store().Stats()
		n += stats.Merged + stats.Duplicates
	}
	return n
}

// reach returns the percentiles of durations, which it sorts.
func reach(took []time.Duration) Reach {
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[min(int(math.Ceil(share*float64(len(took)))), len(took))-1]
	}
	return Reach{P50: at(0.5), P99: at(0.99)}
}

// The settings of memberlist.DefaultLANConfig.
const (
	gossipInterval   = 200 * time.Millisecond
	gossipNodes      = 3
	retransmits      = 4 // is multiplied by the decimal logarithm of the number of nodes
	pushPullInterval = 30 * time.Second
	pushPullScales   = 32 // number of nodes from which on the interval grows with its logarithm
)

// broadcast models a TransmitLimitedQueue whose receivers queue a message when they get it
// first. In every interval a node sends the message to three random others, up to the limit
// of copies. A node that all copies miss gets the message from an exchange of whole states.
func broadcast(seed uint64, nodes int, loss float64, writes int) Reach {
	limit := retransmits * int(math.Ceil(math.Log10(float64(nodes+1))))
	exchange := pushPullInterval
	if nodes > pushPullScales {
		exchange *= time.Duration(math.Ceil(math.Log2(float64(nodes))-math.Log2(pushPullScales))) + 1
	}
	var took []time.Duration
	for write := range writes {
		f := newFate(seed, uint64(nodes), uint64(write))
		var (
			plan    agenda
			now     time.Duration
			has     = make([]bool, nodes)
			missing = nodes
			hear    func(node int)
		)
		other := func(node int) int { return (node + 1 + f.below(nodes-1)) % nodes }
		var gossip func(node, sent int)
		gossip = func(node, sent int) {
			var reached []int
			for len(reached) < min(gossipNodes, nodes-1) && sent < limit {
				to := other(node)
				if slices.Contains(reached, to) {
					continue
				}
				reached = append(reached, to)
				if sent++; f.chance(loss) {
					continue
				}
				plan.add(now+transit(&f), func() { hear(to) })
			}
			if sent < limit {
				plan.add(now+gossipInterval, func() { gossip(node, sent) })
			}
		}
		hear = func(node int) {
			if has[node] {
				return
			}
			has[node], missing = true, missing-1
			plan.add(now+f.between(0, gossipInterval), func() { gossip(node, 0) })
		}
		var pushPull func(node int)
		pushPull = func(node int) {
			if to := other(node); has[to] || has[node] {
				hear(to)
				hear(node)
			}
			plan.add(now+exchange, func() { pushPull(node) })
		}
		for node := range nodes {
			plan.add(f.between(0, exchange), func() { pushPull(node) })
		}
		hear(f.below(nodes))
		for missing > 0 {
			e, _ := plan.next(math.MaxInt64)
			now = e.at
			e.do()
		}
		took = append(took, now)
	}
	r := reach(took)
	r.Copies = float64(nodes*limit) * (1 - loss) / float64(nodes-1) // each node sends the message up to the limit
	return r
}

// transit returns the delay of a packet.
func transit(f *fate) time.Duration { return f.between(200*time.Microsecond, 2200*time.Microsecond) }
