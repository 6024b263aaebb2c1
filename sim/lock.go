package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Locks is the lock service of a run; without voters there is none.
type Locks struct {
	Voters int           // the first so many peers certify leases; up to lockservice.MaxVoters
	MaxTTL time.Duration // of leases: 3 s
	Drift  int           // of clocks, that leases make up for, in parts per million: 10,000
}

// withDefaults fills in what is not said.
func (k Locks) withDefaults(peers int) (Locks, error) {
	if k.Voters == 0 {
		return k, nil
	}
	if k.Voters < 0 || k.Voters > min(peers, lockservice.MaxVoters) {
		return k, fmt.Errorf("%d voters of %d peers; 1 to %d are allowed", k.Voters, peers, min(peers, lockservice.MaxVoters))
	}
	if k.MaxTTL == 0 {
		k.MaxTTL = 3 * time.Second
	}
	if k.Drift == 0 {
		k.Drift = 10_000
	}
	return k, nil
}

// locker is the lock machine of one life of a peer, and what the agent does for it:
// it carries packets between those who take each other for alive, keeps the bound of
// tokens on disk, and hands results to who asked. Of a peer's troubles it shares a
// stop of the process; the replica's loop and disk do not hold it up.
type locker struct {
	p     *Peer
	node  *lockservice.Node
	calls map[uint64]*lockCall
	wake  time.Duration     // when the next tick is planned, -1 if none is
	saved time.Duration     // when the last save is durable
	late  []func()          // what would have happened while the process was stopped
	known []string          // who is up, as told last
	names map[string]string // whom each of their names stands for
}

// lockCall is one attempt to hold a lock, and from its grant on a lease.
type lockCall struct {
	lockservice.Call
	id      uint64
	p       *Peer
	asked   time.Duration
	token   uint64
	granted time.Duration
	sent    time.Duration // when the round that extended it last was, by the run's time
	until   time.Duration // when its holder takes it to be over
	state   callState
	heard   func(lockservice.Result)
	inst    lockservice.Inst // once it is known
	resumed bool             // its client came from elsewhere
}

type callState uint8

const (
	callWaits callState = iota
	callHolds
	callOver
)

// openLocks begins a life of the lock machine, the first one or one that cannot know
// what an earlier one has certified.
func (p *Peer) openLocks() {
	c := p.c
	if c.cfg.Locks.Voters == 0 {
		return
	}
	p.locks.close()
	p.boots++
	cfg := lockservice.Config{
		Self: p.name, Seed: c.cfg.Seed ^ uint64(p.index)<<8 ^ p.boots, Voters: p.voters,
		MaxTTL: c.cfg.Locks.MaxTTL, Drift: c.cfg.Locks.Drift, FirstBoot: p.boots == 1,
	}
	cfg.Barred = func(lock string, token uint64) bool { return c.barred != nil && c.barred(p, lock, token) }
	if p.disk != nil {
		cfg.Durable, cfg.State = true, p.disk.tokens
	}
	binary.BigEndian.PutUint64(cfg.Boot[:], uint64(p.index+1)<<32|p.boots)
	node, err := lockservice.New(cfg, p.lockTime())
	if err != nil {
		c.judge.violate(p.index, "O6: %s cannot begin with its locks: %v", p.name, err)
		return
	}
	p.locks = &locker{p: p, node: node, calls: map[uint64]*lockCall{}, wake: -1}
	c.locks.started(p)
	p.locks.carry()
}

// close ends a life of the lock machine: the process is gone, and who held a lock by it is,
// too, but for bearers, who are processes of their own.
func (l *locker) close() {
	if l == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(l.calls)) {
		if k := l.calls[id]; !l.orphan(k) {
			l.p.c.locks.ended(k)
		}
	}
	l.p.locks = nil
}

// takesForAlive reports whether p would send to q, and listen to it.
func (p *Peer) takesForAlive(q *Peer) bool { return p.sees[q.index].alive && !p.suspects[q.index] }

// look gives the lock machine what its peer believes.
func (l *locker) look() {
	if l == nil {
		return
	}
	p := l.p
	known := make([]string, 0, len(p.sees))
	claims := make([]lockservice.Claim, 0, len(p.sees))
	for _, q := range p.c.peers {
		if q != p && p.takesForAlive(q) {
			known = append(known, q.name)
			claims = append(claims, lockservice.Claim{ID: q.name, Name: q.name})
			if p.c.liar.claims(q) {
				claims = append(claims, lockservice.Claim{ID: liarName, Name: q.name})
			}
		}
	}
	l.names = lockservice.Claimed(l.names, claims)
	l.do(func() {
		if l.known == nil || !slices.Equal(known, l.known) {
			l.known = known
			l.node.SetLive(p.lockTime(), known)
			l.carry()
		}
	})
}

// do does what concerns this life of the machine, once the process is not stopped.
func (l *locker) do(f func()) {
	switch p := l.p; {
	case p.locks != l || !p.up:
	case p.paused:
		if len(l.late) < inboxFrames {
			l.late = append(l.late, f)
		}
	default:
		f()
	}
}

// after does it in a while.
func (l *locker) after(d time.Duration, f func()) { l.p.c.At(l.p.c.now+d, func() { l.do(f) }) }

// goOn does what has waited for a process that was stopped: first of all what its
// timers have to say, or what has come for it, as it happens.
func (l *locker) goOn() {
	late := l.late
	l.late = nil
	f := newFate(l.p.c.cfg.Seed, uint64(l.p.index), uint64(l.p.c.now))
	if f.chance(0.5) {
		l.tick()
	}
	for _, f := range late {
		l.do(f)
	}
	if l.p.locks == l && !l.p.paused {
		l.tick()
	}
}

func (l *locker) tick() {
	l.node.Tick(l.p.lockTime())
	l.carry()
}

// carry carries out what the machine asks for.
func (l *locker) carry() {
	c := l.p.c
	rd := l.node.Ready(l.p.lockTime())
	for _, pk := range rd.Packets {
		c.net.sendLock(l.p, pk)
	}
	if rd.Persist != nil {
		l.save(*rd.Persist)
	}
	for _, r := range rd.Results {
		l.result(r)
	}
	if l.p.locks == l {
		l.schedule()
	}
}

// save makes a bound of tokens durable, in its time and its order.
func (l *locker) save(s lockservice.State) {
	c := l.p.c
	f := newFate(c.cfg.Seed, uint64(l.p.index), s.TokenBound)
	delay := f.between(100*time.Microsecond, 4*time.Millisecond)
	if f.chance(0.1) {
		delay += f.between(0, 500*time.Millisecond)
	}
	disk := l.p.disk
	l.saved = max(l.saved, c.now+delay)
	c.At(l.saved, func() {
		if l.p.locks != l || !l.p.up || l.p.disk != disk {
			return
		}
		disk.tokens = s
		l.do(func() {
			l.node.Persisted(s)
			l.carry()
		})
	})
}

// schedule plans the next tick, unless an earlier one is planned.
func (l *locker) schedule() {
	c, next := l.p.c, l.node.Next()
	if l.p.frozen > 0 && next > l.p.boot(c.now) {
		return
	}
	at := max(l.p.booted(next), c.now)
	if l.wake >= 0 && l.wake <= at {
		return
	}
	l.wake = at
	c.At(at, func() {
		if l.wake == at && l.p.locks == l {
			l.wake = -1
			if !l.p.paused { // goOn comes by
				l.tick()
			}
		}
	})
}

// receive takes a packet in the name of a peer from it, or from who claims to be it.
func (l *locker) receive(id string, from *Peer, packet []byte) {
	if !l.p.takesForAlive(from) || l.names[from.name] != id {
		return // a stranger
	}
	if err := l.node.Receive(l.p.lockTime(), from.name, packet); err != nil {
		l.p.c.judge.violate(l.p.index, "O6: %s refused a lock packet of its own kind: %v", l.p.name, err)
	}
	l.carry()
}

func (l *locker) result(r lockservice.Result) {
	call := l.calls[r.ID]
	if call == nil {
		return // it was over, and is over
	}
	l.p.c.locks.heard(call, r)
	if call.heard != nil {
		call.heard(r)
	}
}

// acquire asks for a lock by this peer; heard is told what becomes of it. It fails if
// the peer does not run.
func (p *Peer) acquire(call lockservice.Call, heard func(lockservice.Result)) (*lockCall, error) {
	l := p.locks
	if l == nil || !p.up || p.paused {
		return nil, fmt.Errorf("%s does not run", p.name)
	}
	id, err := l.node.Acquire(p.lockTime(), call)
	if err != nil {
		return nil, err
	}
	k := &lockCall{Call: call, id: id, p: p, asked: p.c.now, heard: heard}
	l.calls[id] = k
	p.c.locks.asked(k)
	l.carry()
	return k, nil
}

// release gives a lock back, or gives up waiting for it.
func (k *lockCall) release() {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return // of an earlier life
	}
	l.do(func() {
		k.p.c.locks.late(k)
		if k.state == callHolds && !k.p.c.locks.settling {
			k.p.c.note(Released, k.p.index, "lets %s go", k.Lock)
		}
		k.p.c.locks.answered(k, "release", k.state == callOver, l.node.Release(k.p.lockTime(), k.id))
		k.p.c.locks.ended(k)
		l.carry()
	})
}

// renew extends a lease.
func (k *lockCall) renew() {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return
	}
	l.do(func() {
		idle := k.state != callHolds || k.until <= k.p.c.now
		k.p.c.locks.answered(k, "renewal", idle, l.node.Renew(k.p.lockTime(), k.id))
		l.carry()
	})
}

// confirm begins a round of a lease, and returns its number: once Extended bears it, a
// majority has certified the lease since.
func (k *lockCall) confirm() (round uint64, err error) {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return 0, lockservice.ErrNotHolder
	}
	round, err = l.node.Confirm(k.p.lockTime(), k.id)
	l.carry()
	return round, err
}

// left is how long its holder takes a lease to last.
func (k *lockCall) left() time.Duration {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return 0
	}
	deadline, _ := l.node.Deadline(k.id)
	return max(deadline-k.p.lockTime().Mono, 0)
}

// sendLock decides what becomes of a packet of locks, from what it is: as of a frame,
// and it may be lost as well.
func (n *network) sendLock(p *Peer, pk lockservice.Packet) {
	c := n.c
	q := c.named(pk.To)
	if q == nil || !p.takesForAlive(q) {
		return // no way is known
	}
	if c.liar.claims(q) {
		c.liar.vote(p, pk.Bytes)
	}
	if p.locks.names[q.name] != q.name {
		return // it goes to who claims to be q
	}
	id := digest(lockSalt^uint64(p.index)<<32^uint64(q.index), pk.Bytes)
	c.hash = (c.hash ^ id ^ uint64(c.now)) * 0x9e3779b97f4a7c15
	n.tries[id]++
	f := newFate(c.cfg.Seed, id, n.tries[id])
	if f.chance(c.cfg.Loss) || !n.open(p, q) {
		return
	}
	if c.tracer != nil {
		c.trace("%s to %s: %d B of locks", p.name, q.name, len(pk.Bytes))
	}
	delay := transit(&f)
	copies := 1
	if f.chance(c.cfg.Double) {
		copies = 2
	}
	for range copies {
		if c.cfg.Late > 0 && f.below(20) == 0 {
			delay += f.between(0, c.cfg.Late)
		}
		c.At(c.now+delay, func() {
			if l := q.locks; l != nil {
				l.do(func() { l.receive(p.name, p, pk.Bytes) })
			}
		})
		delay = f.between(200*time.Microsecond, 20*time.Millisecond)
	}
}

// lockSalt sets the packets of locks apart from frames.
const lockSalt = 0x10c5_10c5_10c5_10c5

// named returns a peer by name.
func (c *Cluster) named(name string) *Peer {
	for _, p := range c.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}
