package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Locks is the lock service of a run.
type Locks struct {
	Voters int           // the first peers vote, up to lockservice.MaxVoters; 0: there are no locks
	MaxTTL time.Duration // the longest TTL of a lease; 0 means 3 s
	Drift  int           // the drift of clocks that leases allow for, in parts per million; 0 means 10,000
}

// withDefaults checks k and fills in the defaults.
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

// locker is the lock machine of one life of a peer, with the part that the agent plays for
// it. It carries packets between peers that take each other for alive, keeps the bound of
// tokens on disk, and returns results to the callers. A pause of the process holds it up,
// the replica's loop and disk do not.
type locker struct {
	p        *Peer
	node     *lockservice.Node
	calls    map[uint64]*lockCall
	wake     time.Duration     // the time of the next tick; -1: none is planned
	saved    time.Duration     // the time when the last save is durable
	deferred []func()          // the calls that wait for the end of a pause
	known    []string          // the peers that the machine takes for alive
	names    map[string]string // the member that each peer's name stands for
}

// lockCall is a call for a lock, and from its grant on a lease.
type lockCall struct {
	lockservice.Call
	id       uint64
	p        *Peer
	asked    time.Duration // times of the run, here and below
	token    uint64
	granted  time.Duration
	sent     time.Duration // the beginning of the round that extended the lease last
	ends     time.Duration // when its holder hears of the end, by the holder's clock
	until    time.Duration // its deadline by the same clock: the holder may be at work until then
	state    callState
	onResult func(lockservice.Result) // gets each result; may be nil
	inst     lockservice.Inst         // from the grant on
	resumed  bool                     // the client held the lease at another peer or life before
}

type callState uint8

const (
	callWaits callState = iota
	callHolds
	callOver
)

// openLocks begins a life of the lock machine. Without a disk, a life after the first does
// not know what earlier ones have certified.
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

// close ends a life of the lock machine, because its process ends. The clients in the
// process end too. Bearers are processes of their own, and keep their leases.
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

// takesForAlive reports whether p takes q for alive, and so exchanges lock packets with it.
func (p *Peer) takesForAlive(q *Peer) bool { return p.sees[q.index].alive && !p.suspects[q.index] }

// setView gives the lock machine its view of the members: what its peer believes.
func (l *locker) setView() {
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

// do calls f, or defers the call to the end of a pause. It drops f once this life has ended.
func (l *locker) do(f func()) {
	switch p := l.p; {
	case p.locks != l || !p.up:
	case p.paused:
		if len(l.deferred) < inboxFrames {
			l.deferred = append(l.deferred, f)
		}
	default:
		f()
	}
}

// after plans do for d from now.
func (l *locker) after(d time.Duration, f func()) { l.p.c.At(l.p.c.now+d, func() { l.do(f) }) }

// goOn makes the calls that were deferred during a pause. The tick that is due comes before
// or after them, at random.
func (l *locker) goOn() {
	late := l.deferred
	l.deferred = nil
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

// tick gives the time to the machine.
func (l *locker) tick() {
	l.node.Tick(l.p.lockTime())
	l.carry()
}

// carry carries out the effects of the machine.
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

// save makes a bound of tokens durable after a delay. Saves become durable in their order.
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

// schedule plans the next tick, unless one is planned for that time or an earlier one. A
// frozen boot clock may never reach that time.
func (l *locker) schedule() {
	c, next := l.p.c, l.node.Next()
	if l.p.frozen > 0 && next > l.p.boot(c.now) {
		return
	}
	at := max(l.p.whenBoot(next), c.now)
	if l.wake >= 0 && l.wake <= at {
		return
	}
	l.wake = at
	c.At(at, func() {
		if l.wake == at && l.p.locks == l {
			l.wake = -1
			if !l.p.paused { // otherwise goOn ticks
				l.tick()
			}
		}
	})
}

// receive takes a packet in the name of the peer from. The sender is the member id, which
// may be a liar that claims the name.
func (l *locker) receive(id string, from *Peer, packet []byte) {
	if !l.p.takesForAlive(from) || l.names[from.name] != id {
		return // the name stands for another member here
	}
	if err := l.node.Receive(l.p.lockTime(), from.name, packet); err != nil {
		l.p.c.judge.violate(l.p.index, "O6: %s refused a lock packet of its own kind: %v", l.p.name, err)
	}
	l.carry()
}

// result returns a result of the machine to the judge and to the caller.
func (l *locker) result(r lockservice.Result) {
	call := l.calls[r.ID]
	if call == nil {
		return // the call was over before
	}
	l.p.c.locks.checkResult(call, r)
	if call.onResult != nil {
		call.onResult(r)
	}
}

// acquire asks for a lock at this peer. The function onResult gets the results and may be nil.
// It fails if the process does not run.
func (p *Peer) acquire(call lockservice.Call, onResult func(lockservice.Result)) (*lockCall, error) {
	l := p.locks
	if l == nil || !p.up || p.paused {
		return nil, fmt.Errorf("%s does not run", p.name)
	}
	id, err := l.node.Acquire(p.lockTime(), call)
	if err != nil {
		return nil, err
	}
	k := &lockCall{Call: call, id: id, p: p, asked: p.c.now, onResult: onResult}
	l.calls[id] = k
	p.c.locks.asked(k)
	l.carry()
	return k, nil
}

// release releases a lease, or ends a call that waits.
func (k *lockCall) release() {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return // the call belongs to an earlier life
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
		idle := k.state != callHolds || k.ends <= k.p.c.now
		k.p.c.locks.answered(k, "renewal", idle, l.node.Renew(k.p.lockTime(), k.id))
		l.carry()
	})
}

// confirm begins a round that extends a lease, and returns the number of the round. A
// result Extended with this round or a later one proves that a majority has certified the
// lease since the call.
func (k *lockCall) confirm() (round uint64, err error) {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return 0, lockservice.ErrNotHolder
	}
	round, err = l.node.Confirm(k.p.lockTime(), k.id)
	l.carry()
	return round, err
}

// left returns the rest of the lease by its holder's clock.
func (k *lockCall) left() time.Duration {
	l := k.p.locks
	if l == nil || l.calls[k.id] != k {
		return 0
	}
	end, _, _ := l.node.Deadline(k.id)
	return max(end-k.p.lockTime().Mono, 0)
}

// sendLock decides the fate of a lock packet, and plans its arrival.
func (n *network) sendLock(p *Peer, pk lockservice.Packet) {
	c := n.c
	q := c.named(pk.To)
	if q == nil || !p.takesForAlive(q) {
		return // p takes the receiver for dead
	}
	if c.liar.claims(q) {
		c.liar.vote(p, pk.Bytes)
	}
	if p.locks.names[q.name] != q.name {
		return // the name stands for the liar, which got the packet
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

// lockSalt gives lock packets other fates than frames with equal bytes.
const lockSalt = 0x10c5_10c5_10c5_10c5

// named returns the peer with a name, or nil.
func (c *Cluster) named(name string) *Peer {
	for _, p := range c.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}
