package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// stopPatience is how long a process that stops in order goes on sending.
const stopPatience = 100 * time.Millisecond

// stop ends the process in order. Calls that wait are refused, and holders in the process
// release their locks. Bearers keep their leases.
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
			case k.state == callWaits, k.Bearer: // orphan refuses a bearer with a frozen clock, which would hold for ever
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

// orphan parts a bearer from its peer, and reports whether k is a bearer's lease. The
// bearer takes itself for a holder until the end of the lease that it was told last.
func (l *locker) orphan(k *lockCall) bool {
	if !k.Bearer || k.state != callHolds || l.p.frozen > 0 {
		return false
	}
	delete(l.calls, k.id)
	return true
}

// moveHere has the last bearer of a lock go on with its lease at this peer. A bearer that
// is refused still takes itself for a holder until its lease ends, which makes L1 stricter.
func (l *locker) moveHere(lock string) {
	if l == nil {
		return
	}
	if old := l.p.c.locks.of(lock).bearer; old != nil {
		l.takeOver(old, nil)
	}
}

// takeOver has a bearer go on with its lease at this peer. The function onResult gets the
// results and may be nil. takeOver returns nil if the lease cannot go on here.
func (l *locker) takeOver(old *lockCall, onResult func(lockservice.Result)) *lockCall {
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
	k := &lockCall{Call: old.Call, id: id, p: p, asked: p.c.now, inst: old.inst, token: old.token, resumed: true, onResult: onResult}
	l.calls[id], p.c.locks.of(old.Lock).bearer = k, k
	l.carry()
	return k
}

// goesOn checks a lease that was resumed (L8).
func (j *lockJudge) goesOn(k *lockCall, l *lockLedger, r lockservice.Result) {
	j.c.reached("a bearer went on at another peer")
	if r.Token != k.token {
		j.c.judge.violate(k.p.index, "L8: %s resumes %s with token %d, which had token %d", k.p.name, k.Lock, r.Token, k.token)
	}
	j.since(k, l)
}

// since checks, when a lease was renewed or resumed, that the lock was not granted to a
// client that the lease excludes since the lease's own grant (L8). The windows of the two
// may not overlap, because the other client may have released the lock already.
func (j *lockJudge) since(k *lockCall, l *lockLedger) {
	if last := l.excluding(k.Mode); k.token < last && j.ordered() && !j.stoodStill(k) {
		j.c.judge.violate(k.p.index, "L8: %s goes on with %s by token %d, and %d was given since", k.p.name, k.Lock, k.token, last)
	}
}

// excluding returns the highest token of all grants that exclude a lease of this mode.
func (l *lockLedger) excluding(mode lockservice.Mode) uint64 {
	if mode == lockservice.Exclusive {
		return l.high
	}
	return l.highX
}

// stoodStill reports whether k may accept an answer that is out of date, because a boot
// clock stood still.
func (j *lockJudge) stoodStill(k *lockCall) bool { return k.p.frozen > 0 || k.asked < j.c.thawed }
