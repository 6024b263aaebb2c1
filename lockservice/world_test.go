package lockservice

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// world runs nodes in virtual time under every fault that the design allows: drift up to the
// bound, skewed wall clocks, loss, duplication, very late delivery, partitions, pauses,
// restarts without a disk, and random views. Its oracles know real time and check I1 to I7.
type world struct {
	rng      *rand.Rand
	plan     plan
	now      time.Duration // real
	queue    agenda
	seq      uint64
	steps    int
	peers    []*peer
	names    []string
	locks    []string
	list     []Voters // lists of voters, of the epochs 1, 2, …
	cut      map[string]bool
	open     map[openHold]*window
	ended    map[Inst]bool
	bearers  []Bearer               // bearers with a lease that was granted
	released map[Inst]bool          // bearers' instances for which a call has asked to release them
	parting  map[openHold]Inst      // those whose release is not confirmed yet, by the call that asked
	dead     map[Inst]time.Duration // real time from which on an instance must not be granted again
	high     map[string]uint64      // highest token granted for each lock; highX counts exclusive grants only
	highX    map[string]uint64
	grants   int
	faults   []string
	taken    []*window // exclusive windows that are over; only if keep is set
	keep     bool
}

// plan is the configuration of one world.
type plan struct {
	voters, clients int
	locks           int
	durable         bool
	reload          bool
	shared          bool
	wild            bool // views are random and change all the time
	calm            bool // no restarts
	slow            bool // every packet takes long
	keep            bool // holders rarely unlock
	bearers         bool // some leases are bearers', and resumed at other peers
	drift           int
	skew            time.Duration
	loss            int // per mille
	frozen          bool
}

type peer struct {
	w       *world
	name    string
	node    *Node
	boot    uint64
	rate    int64 // deviation from real time in parts per million
	offset  time.Duration
	wall    int64 // deviation of the wall clock in µs
	until   time.Duration
	voters  Voters
	state   State
	stopped time.Duration // in a world with frozen clocks, the time at which the clock stopped
	wakeAt  time.Duration
	calls   map[uint64]call
	done    map[uint64]bool
	floors  map[string]uint64
	records map[string][]record
	bornAt  time.Duration
}

type call struct {
	lock            string
	mode            Mode
	asked           time.Duration
	ttl             time.Duration
	bearer, resumed bool
	inst            Inst // set once the lock is held
}

type openHold struct {
	peer string
	boot uint64
	id   uint64
}

// window is the interval of real time in which a holder believes that it holds a lock.
type window struct {
	call
	token uint64
	end   time.Duration
	told  time.Duration // when the holder hears of the end
	who   openHold

	granted, left time.Duration // real times of the grant and of the end, for the history
}

type event struct {
	at   time.Duration
	seq  uint64
	to   *peer
	from string
	b    []byte
	save *State
	node *Node
	mono time.Duration // of a wake-up
}

type agenda []*event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

const (
	worldTTL  = time.Second
	worldEdge = 1 << 40 // µs since 2020 at real time 0
)

func newPlan(r *rand.Rand) plan {
	p := plan{
		voters: []int{1, 2, 3, 3, 3, 3, 4, 5}[r.IntN(8)], clients: 1 + r.IntN(2), locks: 1 + r.IntN(2),
		durable: r.IntN(2) == 0, reload: r.IntN(3) == 0, shared: r.IntN(3) == 0, wild: r.IntN(2) == 0, calm: r.IntN(4) == 0, slow: r.IntN(3) == 0, keep: r.IntN(2) == 0, bearers: r.IntN(2) == 0,
		drift: 50_000, skew: 250 * time.Millisecond, loss: []int{0, 10, 50, 200}[r.IntN(4)],
	}
	if p.durable {
		p.skew = time.Minute // the bound on disk orders tokens whatever the clocks say
	}
	if p.reload {
		p.voters = 3
		p.clients = 3
	}
	return p
}

func newWorld(seed uint64, tune func(*plan)) *world {
	r := rand.New(rand.NewPCG(seed, 77))
	w := &world{rng: r, plan: newPlan(r), cut: make(map[string]bool), open: make(map[openHold]*window), ended: make(map[Inst]bool),
		released: make(map[Inst]bool), parting: make(map[openHold]Inst), dead: make(map[Inst]time.Duration),
		high: make(map[string]uint64), highX: make(map[string]uint64)}
	if tune != nil {
		tune(&w.plan)
	}
	var v Voters
	for i := range w.plan.voters + w.plan.clients {
		name := string(rune('a' + i))
		w.names = append(w.names, name)
		if i < w.plan.voters {
			v.Names = append(v.Names, name)
		}
	}
	for i := range w.plan.locks {
		w.locks = append(w.locks, fmt.Sprintf("lock-%d", i))
	}
	w.list = []Voters{v.normal()}
	for i, name := range w.names {
		rates := []int64{-int64(w.plan.drift), 0, int64(w.plan.drift)}
		p := &peer{w: w, name: name, rate: rates[r.IntN(3)], offset: time.Duration(r.IntN(1000)) * time.Second,
			wall: (r.Int64N(2*int64(w.plan.skew)+1) - int64(w.plan.skew)) / 1000, voters: w.list[0]}
		if w.plan.frozen && i == len(w.names)-1 {
			p.stopped = 1 // soon
		}
		w.peers = append(w.peers, p)
		p.start(true)
	}
	return w
}

// start starts the peer's process.
func (p *peer) start(first bool) {
	w := p.w
	p.boot++
	p.bornAt = w.now
	p.calls, p.done = make(map[uint64]call), make(map[uint64]bool)
	p.floors, p.records = make(map[string]uint64), make(map[string][]record)
	cfg := Config{Self: p.name, Seed: p.boot, Voters: p.voters, MaxTTL: worldTTL, Drift: w.plan.drift,
		WallSkew: 2 * min(w.plan.skew, 250*time.Millisecond), FirstBoot: first, Durable: w.plan.durable, State: p.state}
	cfg.Boot[0], cfg.Boot[15] = byte(p.boot), 1
	cfg.Boot[1], cfg.Boot[2] = byte(p.boot>>8), byte(p.boot>>16)
	n, err := New(cfg, p.time())
	if err != nil {
		panic(err)
	}
	n.SetLive(p.time(), w.names)
	p.node = n
	p.wakeAt = -1
	p.carry()
}

// time returns the present readings of the peer's clocks.
func (p *peer) time() Time {
	real := p.w.now
	if p.stopped > 1 {
		real = min(real, p.stopped)
	}
	mono := p.offset + real + time.Duration(int64(real/1000)*p.rate/1000)
	return Time{Mono: mono, Wall: uint64(worldEdge + real.Microseconds() + p.wall)}
}

// real returns the real time at which the peer's clock will show mono.
func (p *peer) real(mono time.Duration) time.Duration {
	d := mono - p.offset
	est := d - time.Duration(int64(d/1000)*p.rate/(1_000_000+p.rate)*1000)
	for p.offset+est+time.Duration(int64(est/1000)*p.rate/1000) < mono {
		est += time.Microsecond
	}
	return est
}

func (w *world) push(e *event) {
	w.seq++
	e.seq = w.seq
	heap.Push(&w.queue, e)
}

// delay draws the delay of a packet, which is mostly short and sometimes longer than any lease.
func (w *world) delay() time.Duration {
	switch n := w.rng.IntN(1000); {
	case n < 10:
		return time.Duration(w.rng.Int64N(int64(4 * worldTTL)))
	case n < 60:
		return time.Duration(w.rng.Int64N(int64(200 * time.Millisecond)))
	}
	if w.plan.slow {
		return time.Duration(w.rng.Int64N(int64(60 * time.Millisecond)))
	}
	return 200*time.Microsecond + time.Duration(w.rng.Int64N(int64(5*time.Millisecond)))
}

// carry carries out the node's Ready, and has the oracles look at it.
func (p *peer) carry() {
	w := p.w
	rd := p.node.Ready(p.time())
	for _, pk := range rd.Packets {
		if w.cut[p.name+pk.To] || w.rng.IntN(1000) < w.plan.loss {
			continue
		}
		i := slices.Index(w.names, pk.To)
		if i < 0 {
			continue
		}
		copies := 1
		if w.rng.IntN(20) == 0 {
			copies = 2
		}
		for range copies {
			w.push(&event{at: w.now + w.delay(), to: w.peers[i], from: p.name, b: pk.Bytes})
		}
	}
	if rd.Persist != nil {
		late := time.Duration(w.rng.IntN(2)) * time.Duration(w.rng.Int64N(int64(worldTTL)))
		w.push(&event{at: w.now + late, to: p, save: rd.Persist, node: p.node})
	}
	for _, res := range rd.Results {
		p.result(res)
	}
	p.watch()
	if at := p.node.Next(); at != p.wakeAt {
		p.wakeAt = at
		w.push(&event{at: max(p.real(at), w.now), to: p, node: p.node, mono: at})
	}
}

// step handles the next event or draws an action. It returns false after a fault.
func (w *world) step() bool {
	w.steps++
	if w.rng.IntN(3) == 0 || len(w.queue) == 0 {
		w.act()
		return len(w.faults) == 0
	}
	e := heap.Pop(&w.queue).(*event)
	w.now = max(w.now, e.at)
	p := e.to
	if p.until > w.now { // paused
		w.steps--
		e.at = p.until
		w.push(e)
		return true
	}
	switch {
	case e.node != nil && e.node != p.node: // an event for an earlier process of the peer
		w.steps--
	case e.node != nil && e.save == nil && e.mono != p.wakeAt: // set anew since
		w.steps--
	case e.save != nil:
		if e.save.TokenBound >= p.state.TokenBound { // the shell writes in order
			p.state = *e.save
		}
		p.node.Persisted(*e.save)
	case e.b != nil:
		if w.cut[e.from+p.name] && w.rng.IntN(2) == 0 {
			return true
		}
		if err := p.node.Receive(p.time(), e.from, e.b); err != nil {
			w.fault("%s refused a packet: %v", p.name, err)
		}
		p.carry()
	default:
		p.wakeAt = -1
		p.node.Tick(p.time())
		p.carry()
	}
	return len(w.faults) == 0
}

// run takes steps until one of them returns a fault.
func (w *world) run(steps int) {
	for range steps {
		if !w.step() {
			return
		}
	}
}
