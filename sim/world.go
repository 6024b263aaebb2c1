package sim

import (
	"container/heap"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Config configures a run. What is zero is drawn from the seed.
type Config struct {
	Seed     uint64
	Peers    int           // 2 to 5 if zero
	Duration time.Duration // of the hostile phase; 10 s if zero
}

// Settle bounds the quiet phase.
const Settle = 60 * time.Second

// epoch is when every run begins.
var epoch = time.UnixMilli(1_700_000_000_000)

// peer is one replica and its place in the world.
type peer struct {
	name string
	*replica.Replica
	skew   time.Duration
	births uint64
	up     bool
	tick   time.Time // the tick that is scheduled, zero if none
}

// wall is what the peer takes for the time.
func (p *peer) wall(now time.Time) time.Time { return now.Add(p.skew) }

// world is one run.
type world struct {
	cfg    Config
	rng    *rand.Rand
	now    time.Time
	events events
	serial int
	peers  []*peer
	cuts   map[[2]int]bool // one-way, from and to
	views  map[[2]int]bool // who takes whom for dead
	loss   float64
	double float64
	late   time.Duration
	tries  map[uint64]uint64 // attempts of each message
	calm   bool
	hash   uint64
	judge  judge
}

// event is something that will happen.
type event struct {
	at     time.Time
	serial int
	do     func()
}

type events []event

func (h events) Len() int      { return len(h) }
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h events) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].serial < h[j].serial
}
func (h *events) Push(x any) { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

func (w *world) at(t time.Time, do func()) {
	w.serial++
	heap.Push(&w.events, event{t, w.serial, do})
}

// run lets virtual time pass until the given moment.
func (w *world) run(until time.Time) {
	for len(w.events) > 0 && !w.events[0].at.After(until) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// start begins a life of a peer: a new actor, an empty store.
func (w *world) start(i int) {
	p := w.peers[i]
	p.births++
	rules, _ := crdt.NewRules() // the default rules have no faults
	born := p.births
	p.Replica = replica.New(p.wall(w.now), replica.Config{
		Name: p.name, Rules: rules,
		Gossip: gossip.Config{
			Self:    clock.NewActor(p.wall(w.now), uint64(i)<<32|born),
			Cluster: "sim", Seed: w.cfg.Seed ^ uint64(i), BatchInterval: w.batch(), QueueBytes: 64 << 10,
		},
		NewActor: func(now time.Time) clock.Actor {
			p.births++
			return clock.NewActor(now, uint64(i)<<32|p.births)
		},
	})
	p.up, p.tick = true, time.Time{}
	for j := range w.peers {
		w.show(j)
	}
}

func (w *world) batch() time.Duration {
	if w.cfg.Seed%2 == 0 {
		return gossip.AtOnce
	}
	return 20 * time.Millisecond
}

// show gives peer i its view: who is up, but for whom it takes for dead.
func (w *world) show(i int) {
	p := w.peers[i]
	if !p.up {
		return
	}
	var view []gossip.Peer
	for j, q := range w.peers {
		if j != i && q.Replica != nil {
			view = append(view, gossip.Peer{Actor: q.Actor(), Name: q.name, Alive: q.up && !w.views[[2]int{i, j}]})
		}
	}
	p.SetMembers(p.wall(w.now), view)
	w.carry(i)
}

// carry takes what came out of peer i to the network, and schedules its next tick.
func (w *world) carry(i int) {
	p := w.peers[i]
	rd := p.Ready()
	w.judge.changed(p)
	for _, e := range rd.Envelopes {
		w.send(i, e)
	}
	if rd.Rotated {
		for j := range w.peers {
			w.show(j)
		}
	}
	at := p.Deadline().Add(-p.skew)
	if at.Before(w.now) {
		at = w.now
	}
	if !p.tick.IsZero() && !p.tick.After(at) && p.tick.After(w.now) {
		return
	}
	p.tick = at
	life := p.Replica
	w.at(at, func() {
		if p.Replica != life || !p.up || !p.tick.Equal(at) {
			return
		}
		p.tick = time.Time{}
		p.Tick(p.wall(w.now))
		w.carry(i)
	})
}

// send decides what becomes of one frame, from what it is.
func (w *world) send(from int, e gossip.Envelope) {
	to := -1
	for j, q := range w.peers {
		if q.up && q.Actor() == e.To {
			to = j
		}
	}
	h := fnv.New64a()
	h.Write([]byte{byte(from), byte(to)})
	h.Write(e.Frame)
	id := h.Sum64()
	w.hash = (w.hash ^ id) * 0x9e3779b97f4a7c15
	w.tries[id]++
	fate := rand.New(rand.NewPCG(w.cfg.Seed^id, w.tries[id]))
	lost := e.Class == gossip.Packet && fate.Float64() < w.loss
	if to < 0 || lost || w.cuts[[2]int{from, to}] {
		return
	}
	copies := 1
	if fate.Float64() < w.double {
		copies = 2
	}
	for range copies {
		delay := time.Duration(200+fate.IntN(2000)) * time.Microsecond
		if w.late > 0 && fate.IntN(20) == 0 {
			delay += time.Duration(fate.Int64N(int64(w.late)))
		}
		frame := append([]byte(nil), e.Frame...)
		life := w.peers[to].Replica
		w.at(w.now.Add(delay), func() {
			p := w.peers[to]
			if p.Replica != life || !p.up {
				return
			}
			if err := p.Receive(p.wall(w.now), frame); err != nil {
				w.judge.violate("a frame of our own was refused: %v", err)
			}
			clear(frame) // nobody may keep it
			w.carry(to)
		})
	}
}
