package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lockVerbs are the verbs of the steps of locks.
var lockVerbs = []string{"lock", "trylock", "unlock", "renew", "move"}

// client is a program that asks for one lock.
type client struct {
	call lockservice.Call
	wait time.Duration // how long it waits for the lock
	hold time.Duration // how long it holds the lock; 0: until unlock
}

// lock parses "lock NAME ttl=1s wait=5s hold=2s shared bearer", and the other lockVerbs.
func (c steps) lock(p *Peer, verb string, args []string) (func(), error) {
	if c.cfg.Locks.Voters == 0 {
		return nil, errors.New("there are no voters: a line like \"locks voters=3\" is wanted at the beginning")
	}
	if len(args) == 0 {
		return nil, errors.New("the name of a lock is wanted")
	}
	w := client{call: lockservice.Call{Lock: args[0], TTL: c.cfg.Locks.MaxTTL, Try: verb == "trylock"}, wait: time.Minute}
	if verb == "move" {
		if len(args) > 1 {
			return nil, fmt.Errorf("nothing is wanted after the name, not %q", args[1])
		}
		return func() { p.locks.moveHere(w.call.Lock) }, nil
	}
	if verb == "unlock" || verb == "renew" {
		stale := arg(args, 1) == "stale"
		if len(args) > 1 && !stale {
			return nil, fmt.Errorf("stale or nothing is wanted, not %q", args[1])
		}
		return func() { p.locks.speakFor(w.call.Lock, verb == "renew", stale) }, nil
	}
	for _, word := range args[1:] {
		if err := w.option(word); err != nil {
			return nil, err
		}
	}
	if ttl := w.call.TTL; ttl < lockservice.LeastTTL || ttl > c.cfg.Locks.MaxTTL {
		return nil, fmt.Errorf("a ttl of %v; %v to %v are allowed", ttl, lockservice.LeastTTL, c.cfg.Locks.MaxTTL)
	}
	return func() { w.want(p) }, nil
}

// option parses one option of a lock step.
func (w *client) option(word string) (err error) {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "shared":
		w.call.Mode = lockservice.Shared
	case "bearer":
		w.call.Bearer = true
	case "ttl":
		w.call.TTL, err = duration([]string{value}, 0)
	case "wait":
		w.wait, err = duration([]string{value}, 0)
	case "hold":
		w.hold, err = duration([]string{value}, 0)
	default:
		err = fmt.Errorf("ttl=, wait=, hold=, shared or bearer is wanted, not %q", word)
	}
	return err
}

// want has the client ask for the lock at p, hold it, and release it.
func (w client) want(p *Peer) {
	var k *lockCall
	k, err := p.acquire(w.call, func(r lockservice.Result) {
		if r.Event == lockservice.Acquired && w.hold > 0 {
			p.locks.after(w.hold, func() {
				if k.state == callHolds {
					k.release()
				}
			})
		}
	})
	if err != nil {
		return // the process does not run
	}
	p.locks.after(w.wait, func() {
		if k.state == callWaits {
			k.release()
		}
	})
}

// speakFor renews or releases a lock. It uses the peer's last call that waits or holds; if
// there is none, or for a stale step, it uses the last call that is over.
func (l *locker) speakFor(lock string, renew, stale bool) {
	if l == nil {
		return
	}
	if l.p.paused { // the client does it first when it is resumed
		l.do(func() { l.p.locks.speakFor(lock, renew, stale) })
		return
	}
	var live, over *lockCall
	for _, k := range l.calls {
		last := &live
		if k.state == callOver {
			last = &over
		}
		if k.Lock == lock && (*last == nil || (*last).id < k.id) { // the order does not matter: the greatest id wins
			*last = k
		}
	}
	k := live
	if stale || k == nil {
		k = over
	}
	switch {
	case k == nil:
	case renew:
		k.renew()
	default:
		k.release()
	}
}

// voters parses "voters 1-3,5": an operator gives this list to all peers.
func (c steps) voters(args []string) (func(), error) {
	if c.cfg.Locks.Voters == 0 {
		return nil, errors.New("there are no voters to change")
	}
	peers, err := c.peersArg(strings.Join(args, ""))
	if err != nil {
		return nil, err
	}
	if len(peers) > lockservice.MaxVoters {
		return nil, fmt.Errorf("%d voters; 1 to %d are allowed", len(peers), lockservice.MaxVoters)
	}
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return func() { c.locks.revise(slices.Compact(names)) }, nil
}

// revise gives every peer another list of voters, each after a delay of its own. All peers
// must refuse a list that differs by more than one name (L7).
func (j *lockJudge) revise(names []string) {
	c := j.c
	last := j.lists[len(j.lists)-1]
	next := lockservice.Voters{Epoch: last.Epoch + 1, Names: names}
	differ := 0
	for _, n := range slices.Concat(last.Names, names) {
		if !slices.Contains(last.Names, n) || !slices.Contains(names, n) {
			differ++
		}
	}
	if differ != 1 {
		c.note(Revised, 0, "the voters %s differ by %d names, which is refused", strings.Join(names, ", "), differ)
		j.refused(next)
		return
	}
	j.lists = append(j.lists, next)
	c.note(Revised, 0, "the voters are to be %s", strings.Join(names, ", "))
	for _, p := range c.peers {
		f := newFate(c.cfg.Seed, next.Epoch, uint64(p.index))
		delay := f.between(0, 2*time.Second)
		if f.chance(0.3) {
			delay = f.between(2*time.Second, 20*time.Second)
		}
		c.At(c.now+delay, func() { j.follow(p, next) })
	}
}

// refused checks that all peers refuse a list.
func (j *lockJudge) refused(next lockservice.Voters) {
	for _, p := range j.c.peers {
		if p.locks == nil || !p.up || p.paused || p.voters.Epoch+1 != next.Epoch {
			continue
		}
		if err := p.locks.node.Reload(p.lockTime(), next); err == nil {
			j.c.judge.violate(p.index, "L7: %s takes voters that differ by several names", p.name)
		}
	}
}

// follow gives a list to a peer, again every second until the peer takes it.
func (j *lockJudge) follow(p *Peer, next lockservice.Voters) {
	again := func() { j.c.At(j.c.now+time.Second, func() { j.follow(p, next) }) }
	switch l := p.locks; {
	case l == nil || !p.up || p.paused || p.voters.Epoch+1 < next.Epoch:
		again()
	case p.voters.Epoch >= next.Epoch:
	case l.node.Reload(p.lockTime(), next) != nil:
		j.c.reached("a change of voters had to wait")
		again()
	default:
		p.voters = next
		if len(l.leases()) > 0 {
			j.c.reached("voters changed under a lease")
		}
		j.c.trace("%s has the voters %s", p.name, strings.Join(next.Names, ", "))
		l.carry()
	}
}

// leases returns the leases of a peer.
func (l *locker) leases() (list []*lockCall) {
	for _, k := range l.calls { // the callers do not care for the order
		if k.state == callHolds {
			list = append(list, k)
		}
	}
	return list
}

// freeze stops the boot clock, until calm.
func (p *Peer) freeze() {
	if p.frozen == 0 && p.locks != nil {
		p.frozen = max(p.c.now, 1)
		p.c.note(Paused, p.index, "has a clock for leases that stands still")
		for _, k := range p.locks.leases() {
			if k.until > p.c.now {
				k.ends, k.until = forever, forever
			}
		}
	}
}

// thaw lets a boot clock that stands still go on.
func (p *Peer) thaw() {
	if p.frozen == 0 {
		return
	}
	p.frozen, p.c.thawed = 0, p.c.now // as a voter it has measured leases too short
	if l := p.locks; l != nil {
		for _, k := range l.leases() {
			if end, deadline, ok := l.node.Deadline(k.id); ok {
				k.ends, k.until = max(p.whenBoot(end), p.c.now), max(p.whenBoot(deadline), p.c.now)
			}
		}
		l.do(l.tick)
	}
}
