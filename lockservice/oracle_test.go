package lockservice

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
}

// result is the oracle of I1, I2 and I5.
func (p *peer) result(res Result) {
	w := p.w
	who := openHold{p.name, p.boot, res.ID}
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
		end, told := p.real(res.Deadline), p.real(res.End)
		if p.stopped > 1 {
			end, told = 1<<60, 1<<60
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
		if res.Event == Extended && win.told < w.now {
			w.fault("I5: %v is held again after its end", who)
		}
		win.end, win.told = max(win.end, end), max(win.told, told)
		for other, o := range w.open {
			if other != who && o.inst != win.inst && o.lock == win.lock && o.mode.conflicts(win.mode) && o.end > w.now {
				w.fault("I1: %v (token %d) and %v (token %d) both hold %s, until %v and %v", who, res.Token, other, o.token, c.lock, win.end, o.end)
			}
		}
		p.certifiers(res.ID, end)
	case Lost:
		if p.done[res.ID] = true; !errors.Is(res.Err, ErrExpired) || w.open[who] != nil && w.open[who].end <= w.now {
			w.over(who)
		} // otherwise its holder goes on until the deadline
	case Refused:
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
	if !c.resumed && c.bearer {
		w.bearers = append(w.bearers, Bearer{Lock: c.lock, Inst: c.inst, Mode: c.mode, TTL: c.ttl, Token: res.Token})
	}
	if c.resumed && (c.mode == Exclusive && res.Token < w.high[c.lock] || res.Token < w.highX[c.lock]) {
		w.fault("I2: %s resumes %v with token %d after %d", p.name, c.inst, res.Token, w.high[c.lock])
	}
}

func (p *peer) end(id uint64) {
	p.done[id] = true
	p.w.over(openHold{p.name, p.boot, id})
}

// over closes a window.
func (w *world) over(who openHold) {
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
			kept := slices.ContainsFunc(a.live[lock], func(r *record) bool { return r.inst == old.inst })
			if !kept && old.until > now && !w.hasEnded(old.inst) {
				w.fault("I7: the live record of %v for %s at %s is gone", old.inst, lock, p.name)
			}
		}
		p.records[lock] = p.records[lock][:0]
		for _, r := range a.live[lock] {
			p.records[lock] = append(p.records[lock], *r)
		}
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
