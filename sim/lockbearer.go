package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// stopPatience is how long a process that stops still sends what it has to say.
const stopPatience = 100 * time.Millisecond

// stop ends the process in order: who waits for a lock is refused, holders in the process
// let go, and bearers hold what they hold.
func (p *Peer) stop() {
	if !p.up || p.paused {
		return
	}
	if l := p.locks; l != nil {
		l.node.Shut(p.lockTime())
		for _, id := range slices.Sorted(maps.Keys(l.calls)) {
			switch k := l.calls[id]; {
			case l.orphan(k):
				p.c.reached("a peer stopped, and a bearer held a lease by it")
			case k.state == callWaits, k.Manual: // by a clock that stands still it would hold for ever
				p.c.locks.ended(k)
			case k.state == callHolds:
				k.release()
			}
		}
		l.carry()
	}
	life := p.r
	p.stopping = life
	p.c.At(p.c.now+stopPatience, func() {
		if p.stopping == life {
			p.kill()
		}
	})
}

// orphan parts a bearer from its peer, and reports whether k is of one that holds a lease. It
// takes itself for a holder until the time is over that it was told.
func (l *locker) orphan(k *lockCall) bool {
	if !k.Manual || k.state != callHolds || l.p.frozen > 0 {
		return false
	}
	delete(l.calls, k.id)
	return true
}

// moveHere has the last bearer of a lock go on with its lease by this peer. Who is refused takes
// itself for a holder until its time is over all the same, which is the stricter oracle.
func (l *locker) moveHere(lock string) {
	if l == nil {
		return
	}
	if old := l.p.c.locks.of(lock).bearer; old != nil {
		l.takeOver(old, nil)
	}
}

// takeOver has a bearer go on with its lease by p; heard is told what becomes of it. It
// returns nil if that cannot be.
func (l *locker) takeOver(old *lockCall, heard func(lockservice.Result)) *lockCall {
	if l == nil || !l.p.up || l.p.paused || old.state != callHolds {
		return nil
	}
	p := l.p
	if from := old.p.locks; from != nil && from.calls[old.id] == old {
		if from == l || !from.orphan(old) {
			return nil
		}
		from.node.Leave(old.id)
	}
	b := lockservice.Bearer{Lock: old.Lock, Inst: old.inst, Mode: old.Mode, TTL: old.TTL, Token: old.token}
	id, err := l.node.Resume(p.lockTime(), b, "")
	if err != nil || l.calls[id] != nil {
		return nil
	}
	k := &lockCall{Call: old.Call, id: id, p: p, asked: p.c.now, inst: old.inst, token: old.token, resumed: true, heard: heard}
	l.calls[id], p.c.locks.of(old.Lock).bearer = k, k
	l.carry()
	return k
}

// goesOn is the oracle of a lease that was resumed.
func (j *lockJudge) goesOn(k *lockCall, l *lockLedger, r lockservice.Result) {
	j.c.reached("a bearer went on at another peer")
	if r.Token != k.token {
		j.c.judge.violate(k.p.index, "L8: %s resumes %s with token %d, which had token %d", k.p.name, k.Lock, r.Token, k.token)
	}
	j.since(k, l)
}

// since demands of a client that believes in its lease anew, by a renewal here or elsewhere,
// that nobody whom it excludes was granted the lock since it was: that one may have come and
// gone, so that the two never believed at the same moment.
func (j *lockJudge) since(k *lockCall, l *lockLedger) {
	if last := l.excluding(k.Mode); k.token < last && j.ordered() && !j.stoodStill(k) {
		j.c.judge.violate(k.p.index, "L8: %s goes on with %s by token %d, and %d was given since", k.p.name, k.Lock, k.token, last)
	}
}

// excluding returns the highest token of a grant that excludes one of that mode.
func (l *lockLedger) excluding(mode lockservice.Mode) uint64 {
	if mode == lockservice.Exclusive {
		return l.high
	}
	return l.highX
}

// stoodStill reports whether k may take an answer that is long over: a clock for leases
// stood still.
func (j *lockJudge) stoodStill(k *lockCall) bool { return k.p.frozen > 0 || k.asked < j.c.thawed }
