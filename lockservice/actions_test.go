package lockservice

import (
	"slices"
	"time"
)

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
	c := Call{Lock: w.locks[w.rng.IntN(len(w.locks))], TTL: LeastTTL, Try: w.rng.IntN(4) == 0, Bearer: w.plan.bearers && w.rng.IntN(2) == 0}
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
	p.calls[id] = call{lock: c.Lock, mode: c.Mode, asked: w.now, ttl: c.TTL, bearer: c.Bearer}
	p.carry()
}

// held reports whether the node has the lease as held.
func (p *peer) held(id uint64) bool {
	_, _, ok := p.node.Deadline(id)
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
		p.calls[id] = call{lock: b.Lock, mode: b.Mode, asked: w.now, ttl: b.TTL, bearer: true, resumed: true, inst: b.Inst}
	}
	p.carry()
}

// letGo notes that a bearer releases its lease, whichever peers still have it as held.
func (w *world) letGo(by openHold, inst Inst) {
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
		if p.calls[id].bearer && p.w.open[openHold{p.name, p.boot, id}] != nil {
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
			who := openHold{p.name, p.boot, id}
			if win := p.w.open[who]; win != nil && win.end > p.w.now { // its time has run out, and it stops
				if p.w.rng.IntN(4) > 0 {
					continue
				}
				_ = p.node.Release(p.time(), id)
				p.carry()
			}
			p.w.over(who)
			delete(p.calls, id)
			delete(p.done, id)
			continue
		}
		often := 10 // a waiting call rarely gives up
		if p.w.open[openHold{p.name, p.boot, id}] != nil {
			often = 2
		}
		if p.w.rng.IntN(often) == 0 {
			p.end(id)
			if c := p.calls[id]; c.bearer && c.inst.N != 0 && p.held(id) {
				if w := p.w; w.rng.IntN(3) == 0 { // the bearer goes to another peer
					p.node.Leave(id)
					return
				}
				p.w.letGo(openHold{p.name, p.boot, id}, c.inst)
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
