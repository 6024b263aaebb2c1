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
	open     map[holding_]*window
	ended    map[Inst]bool
	bearers  []Bearer               // bearers with a lease that was granted
	released map[Inst]bool          // bearers' instances for which a call has asked to release them
	parting  map[holding_]Inst      // those whose release is not confirmed yet, by the call that asked
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
	bearers         bool // leases are renewed by hand, and resumed at other peers
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
	manual, resumed bool
	inst            Inst // set once the lock is held
}

type holding_ struct {
	peer string
	boot uint64
	id   uint64
}

// window is the interval of real time in which a holder believes that it holds a lock.
type window struct {
	call
	token uint64
	end   time.Duration
	who   holding_

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
	w := &world{rng: r, plan: newPlan(r), cut: make(map[string]bool), open: make(map[holding_]*window), ended: make(map[Inst]bool),
		released: make(map[Inst]bool), parting: make(map[holding_]Inst), dead: make(map[Inst]time.Duration),
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

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
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

// result is the oracle of I1, I2 and I5.
func (p *peer) result(res Result) {
	w := p.w
	who := holding_{p.name, p.boot, res.ID}
	c := p.calls[res.ID]
	switch res.Event {
	case Acquired, Extended:
		if w.released[c.inst] { // its bearer has released it, here or at another peer
			if dead, ok := w.dead[c.inst]; ok && p.stopped <= 1 && p.real(res.Deadline-c.ttl) > dead {
				w.fault("I5: %v of %v is held by a round that began after its release", who, c.inst)
			}
			return
		}
		if p.done[res.ID] {
			w.fault("I5: %v is held again", who)
		}
		end := p.real(res.Deadline)
		if p.stopped > 1 {
			end = 1 << 60
		}
		win := w.open[who]
		if res.Event == Acquired {
			w.grants++
			if win != nil {
				w.fault("I5: %v acquired twice", who)
			}
			c.inst = res.Inst
			p.calls[res.ID] = c
			w.granted(p, c, res)
			win = &window{call: c, token: res.Token, who: who, granted: w.now}
			w.open[who] = win
			if !c.resumed && (c.mode == Exclusive && res.Token <= w.high[c.lock] || res.Token <= w.highX[c.lock]) {
				w.fault("I2: %v gets %s with token %d after %d", who, c.lock, res.Token, w.high[c.lock])
			}
			w.high[c.lock] = max(w.high[c.lock], res.Token)
			if c.mode == Exclusive {
				w.highX[c.lock] = max(w.highX[c.lock], res.Token)
			}
		}
		if res.Event == Extended && win.end < w.now {
			w.fault("I5: %v is held again after its end", who)
		}
		win.end = max(win.end, end)
		for other, o := range w.open {
			if other != who && o.inst != win.inst && o.lock == win.lock && o.mode.conflicts(win.mode) && o.end > w.now {
				w.fault("I1: %v (token %d) and %v (token %d) both hold %s, until %v and %v", who, res.Token, other, o.token, c.lock, win.end, o.end)
			}
		}
		p.certifiers(res.ID, end)
	case Refused, Lost:
		p.end(res.ID)
	case Left:
		if inst, ok := w.parting[who]; ok && res.Err == nil {
			w.dead[inst] = w.now
		}
	}
}

// granted notes a bearer's lease. It is also the oracle of a resumed lease: no instance that
// excludes it may have been granted the lock with a higher token.
func (w *world) granted(p *peer, c call, res Result) {
	if !c.resumed && c.manual {
		w.bearers = append(w.bearers, Bearer{Lock: c.lock, Inst: c.inst, Mode: c.mode, TTL: c.ttl, Token: res.Token})
	}
	if c.resumed && (c.mode == Exclusive && res.Token < w.high[c.lock] || res.Token < w.highX[c.lock]) {
		w.fault("I2: %s resumes %v with token %d after %d", p.name, c.inst, res.Token, w.high[c.lock])
	}
}

func (p *peer) end(id uint64) {
	p.done[id] = true
	p.w.over(holding_{p.name, p.boot, id})
}

// over closes a window.
func (w *world) over(who holding_) {
	if win := w.open[who]; win != nil {
		win.left = min(win.end, w.now)
		if w.keep {
			w.taken = append(w.taken, win)
		}
		delete(w.open, who)
	}
}

// certifiers is the oracle of I3 and I4. The voters that have the granted instance on record,
// until after the holder's deadline, must be a majority of one epoch. A voter that has
// restarted since counts as one of them.
func (p *peer) certifiers(id uint64, end time.Duration) {
	w := p.w
	r := p.node.client.calls[id]
	if r == nil || p.stopped > 1 {
		return
	}
	sent := p.real(r.deadline - r.TTL)
	has := func(name string) bool {
		v := w.peers[slices.Index(w.names, name)]
		if v.bornAt > sent {
			return true
		}
		for _, rec := range v.node.acceptor.live[r.Lock] {
			if rec.inst == r.inst && v.real(rec.until) >= end {
				return true
			}
		}
		return false
	}
	for _, v := range w.list {
		n := 0
		for _, name := range v.Names {
			if has(name) {
				n++
			}
		}
		if n >= len(v.Names)/2+1 {
			return
		}
	}
	w.fault("I3/I4: no majority has %v on record until its deadline", r.inst)
}

// watch is the oracle of I6 and I7.
func (p *peer) watch() {
	w, a := p.w, p.node.acceptor
	now := p.time().Mono
	for _, lock := range w.locks {
		floor := a.floor(lock)
		if floor < p.floors[lock] {
			w.fault("I6: the floor of %s at %s fell from %d to %d", lock, p.name, p.floors[lock], floor)
		}
		p.floors[lock] = floor
		for _, old := range p.records[lock] {
			kept := slices.ContainsFunc(a.live[lock], func(r record) bool { return r.inst == old.inst })
			if !kept && old.until > now && !w.hasEnded(old.inst) {
				w.fault("I7: the live record of %v for %s at %s is gone", old.inst, lock, p.name)
			}
		}
		p.records[lock] = append(p.records[lock][:0], a.live[lock]...)
	}
}

// hasEnded reports whether the client of an instance ended it.
func (w *world) hasEnded(inst Inst) bool {
	p := w.peers[slices.Index(w.names, inst.Node)]
	if p.node.cfg.Boot == inst.Boot && !slices.ContainsFunc(w.bearers, func(b Bearer) bool { return b.Inst == inst }) {
		return p.node.client.current[inst] == nil
	}
	return w.ended[inst] || w.released[inst]
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

// act draws a call or a fault.
func (w *world) act() {
	p := w.peers[w.rng.IntN(len(w.peers))]
	if p.until > w.now {
		return
	}
	switch n := w.rng.IntN(10_000); {
	case n < 4000:
		p.acquire()
	case n < 8000:
		if !w.plan.keep || n < 4100 {
			p.release()
		}
	case n < 8100 || n < 8500 && w.plan.wild:
		p.view()
	case n < 8530:
		w.partition()
	case n < 8600:
		clear(w.cut)
	case n < 8630:
		p.until = w.now + time.Duration(w.rng.Int64N(int64(3*worldTTL/2)))
	case n < 8650 && !w.plan.calm:
		w.restart(p)
	case n < 8900 && w.plan.reload:
		w.reload(p)
	case n < 9400 && w.plan.bearers:
		p.resume()
	case w.plan.bearers && p.renew():
	case p.stopped == 1:
		if w.now > time.Second {
			p.stopped = w.now
			for who, win := range w.open {
				if who.peer == p.name {
					win.end = 1 << 60
				}
			}
		}
	}
}

func (p *peer) acquire() {
	if len(p.calls)-len(p.done) >= 2 {
		return
	}
	w := p.w
	c := Call{Lock: w.locks[w.rng.IntN(len(w.locks))], TTL: LeastTTL, Try: w.rng.IntN(4) == 0, Manual: w.plan.bearers && w.rng.IntN(2) == 0}
	if w.rng.IntN(2) == 0 {
		c.TTL = worldTTL
	}
	if w.plan.shared && w.rng.IntN(2) == 0 {
		c.Mode = Shared
	}
	id, err := p.node.Acquire(p.time(), c)
	if err != nil {
		w.fault("acquire: %v", err)
	}
	p.calls[id] = call{lock: c.Lock, mode: c.Mode, asked: w.now, ttl: c.TTL, manual: c.Manual}
	p.carry()
}

// held reports whether the node has the lease as held.
func (p *peer) held(id uint64) bool {
	_, ok := p.node.Deadline(id)
	return ok
}

// resume lets a bearer resume its lease at another peer or at the same one. A bearer whose
// lease is over mostly does not know that.
func (p *peer) resume() {
	w := p.w
	if len(w.bearers) == 0 {
		return
	}
	b := w.bearers[len(w.bearers)-1-w.rng.IntN(min(len(w.bearers), 4))]
	id, err := p.node.Resume(p.time(), b, "")
	if _, here := p.calls[id]; err == nil && !here {
		p.calls[id] = call{lock: b.Lock, mode: b.Mode, asked: w.now, ttl: b.TTL, manual: true, resumed: true, inst: b.Inst}
	}
	p.carry()
}

// letGo notes that a bearer releases its lease, whichever peers still have it as held.
func (w *world) letGo(by holding_, inst Inst) {
	w.released[inst], w.parting[by] = true, inst
	for who, win := range w.open {
		if win.inst == inst {
			w.over(who)
		}
	}
}

// renew renews the leases of bearers here, and reports whether there were any.
func (p *peer) renew() (any bool) {
	for _, id := range sortedKeys(p.calls) {
		if p.calls[id].manual && p.w.open[holding_{p.name, p.boot, id}] != nil {
			_ = p.node.Renew(p.time(), id)
			any = true
		}
	}
	p.carry()
	return any
}

func (p *peer) release() {
	for _, id := range sortedKeys(p.calls) {
		if p.done[id] {
			delete(p.calls, id)
			delete(p.done, id)
			continue
		}
		often := 10 // a waiting call rarely gives up
		if p.w.open[holding_{p.name, p.boot, id}] != nil {
			often = 2
		}
		if p.w.rng.IntN(often) == 0 {
			p.end(id)
			if c := p.calls[id]; c.manual && c.inst.N != 0 && p.held(id) {
				if w := p.w; w.rng.IntN(3) == 0 { // the bearer goes to another peer
					p.node.Leave(id)
					return
				}
				p.w.letGo(holding_{p.name, p.boot, id}, c.inst)
			}
			_ = p.node.Release(p.time(), id)
			p.carry()
			return
		}
	}
}

func (p *peer) view() {
	w := p.w
	names := slices.Clone(w.names)
	if w.plan.wild || w.rng.IntN(3) == 0 {
		w.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:w.rng.IntN(len(names)+1)]
	}
	p.node.SetLive(p.time(), names)
	p.carry()
}

func (w *world) partition() {
	clear(w.cut)
	side := make(map[string]bool)
	for _, n := range w.names {
		side[n] = w.rng.IntN(2) == 0
	}
	oneWay := w.rng.IntN(3) == 0
	for _, a := range w.names {
		for _, b := range w.names {
			if side[a] && !side[b] || !oneWay && side[b] && !side[a] {
				w.cut[a+b] = true
			}
		}
	}
}

// restart restarts p and often other peers with it. Only the token bound survives.
func (w *world) restart(p *peer) {
	all := []*peer{p}
	switch w.rng.IntN(3) {
	case 0:
		for _, q := range w.peers {
			if w.rng.IntN(2) == 0 && q != p {
				all = append(all, q)
			}
		}
	case 1:
		all = slices.Clone(w.peers[:w.plan.voters])
	}
	for _, q := range all {
		for who := range w.open {
			if who.peer == q.name {
				w.over(who)
			}
		}
		for inst := range q.node.client.ended.set {
			w.ended[inst] = true
		}
		q.start(false)
	}
}

// reload gives p the next list of voters, a new one if there is none yet.
func (w *world) reload(p *peer) {
	v := p.node.voters.Voters
	next := Voters{Epoch: v.Epoch + 1}
	if int(v.Epoch) < len(w.list) {
		next = w.list[v.Epoch]
	} else {
		next.Names = slices.Clone(v.Names)
		for range 1 + 2*w.rng.IntN(2) { // a list that is three steps ahead must be refused
			name := w.names[w.rng.IntN(len(w.names))]
			if i := slices.Index(next.Names, name); i >= 0 {
				next.Names = slices.Delete(next.Names, i, i+1)
			} else {
				next.Names = append(next.Names, name)
			}
		}
	}
	if next.validate() != nil || p.node.Reload(p.time(), next) != nil {
		return
	}
	if int(next.Epoch) > len(w.list) {
		w.list = append(w.list, next.normal())
	}
	p.voters = next
	p.carry()
}

// run takes steps until one of them returns a fault.
func (w *world) run(steps int) {
	for range steps {
		if !w.step() {
			return
		}
	}
}
