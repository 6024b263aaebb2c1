package sim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lockJudge checks the locks of a run against the oracles L1 to L8.
type lockJudge struct {
	c        *Cluster
	ledgers  map[string]*lockLedger // by lock
	lists    []lockservice.Voters   // the lists of voters, by epoch from 1 on
	forgot   bool                   // a voter lost its bound of tokens: only wall clocks order tokens
	settling bool                   // the run has settled; the judge itself asks for the locks
}

// lockLedger is the history of one lock.
type lockLedger struct {
	holding []*lockCall
	waiting []*lockCall
	bearer  *lockCall   // the last bearer
	over    []*lockCall // the leases that have ended; for the histories of tests
	high    uint64      // the highest token granted
	highX   uint64      // the highest token granted exclusively
	written uint64      // the highest token that has written to the protected resource
}

func (j *lockJudge) init(c *Cluster) {
	j.c, j.ledgers = c, map[string]*lockLedger{}
	var v lockservice.Voters
	for i := range c.cfg.Locks.Voters {
		v.Names = append(v.Names, fmt.Sprintf("n%d", i+1))
	}
	v.Epoch = 1
	j.lists = []lockservice.Voters{v}
}

func (j *lockJudge) of(lock string) *lockLedger {
	l := j.ledgers[lock]
	if l == nil {
		l = &lockLedger{}
		j.ledgers[lock] = l
	}
	return l
}

// votes reports whether p is a voter.
func (j *lockJudge) votes(p *Peer) bool { return slices.Contains(p.voters.Names, p.name) }

// started notes that a life of the lock machine begins.
func (j *lockJudge) started(p *Peer) {
	if p.boots == 1 || !j.votes(p) {
		return
	}
	if p.disk != nil && p.disk.tokens.TokenBound > 0 {
		j.c.reached("a voter came back with its bound of tokens")
	} else {
		j.c.reached("a voter started anew, and was silent")
		j.forgot = true
	}
	silent := 0
	for _, q := range j.c.peers {
		if q.locks != nil && q.up && q.locks.node.Quarantine(q.lockTime()) > 0 {
			silent++
		}
	}
	if silent > len(p.voters.Names)/2 {
		j.c.reached("a majority of voters was silent")
	}
}

// wallSkew is the default of lockservice.Config.
const wallSkew = 2 * time.Second

// asked notes a call that waits from now on.
func (j *lockJudge) asked(k *lockCall) {
	l := j.of(k.Lock)
	l.waiting = append(l.waiting, k)
	j.c.hash = mix(j.c.hash^uint64(j.c.now), k.id)
}

// checkResult checks a result of the lock machine.
func (j *lockJudge) checkResult(k *lockCall, r lockservice.Result) {
	c, l := j.c, j.of(k.Lock)
	c.hash = mix(mix(c.hash^uint64(c.now), r.ID<<8|uint64(r.Event)), r.Token)
	switch r.Event {
	case lockservice.Acquired:
		if k.state != callWaits {
			c.judge.violate(k.p.index, "L4: %s hears that it holds %s by a call that is over", k.p.name, k.Lock)
			return
		}
		j.acquired(k, l, r)
		j.extended(k, l, r)
	case lockservice.Extended:
		if r.Round == 0 {
			c.reached("a lease was renewed with others")
		}
		if k.state == callHolds {
			if k.ends < c.now {
				c.judge.violate(k.p.index, "L4: %s holds %s again, %v after the end of its lease", k.p.name, k.Lock, c.now-k.ends)
			}
			j.extended(k, l, r)
			j.since(k, l)
		}
	case lockservice.Refused:
		c.trace("%s is refused %s: %v", k.p.name, k.Lock, r.Err)
		j.ended(k)
	case lockservice.Lost:
		c.reached("a lease was lost")
		if c.net.cuts.count > 0 {
			c.reached("a lease expired during a cut")
		}
		j.late(k)
		c.note(Lost, k.p.index, "loses %s: %v", k.Lock, cause(r.Err))
		if errors.Is(r.Err, lockservice.ErrExpired) {
			j.ranOut(k, l)
		} else {
			j.ended(k)
		}
	}
}

// late checks that the holder of a lease hears of its end at once, or when its process is
// resumed (L4).
func (j *lockJudge) late(k *lockCall) {
	if k.state == callHolds && j.c.now-max(k.ends, k.p.resumed) > time.Millisecond {
		j.c.judge.violate(k.p.index, "L4: %s was not told that it lost %s, %v ago", k.p.name, k.Lock, j.c.now-k.ends)
	}
}

// cause returns the error that says why a lease was lost.
func cause(err error) error {
	if lost, ok := errors.AsType[*lockservice.LostError](err); ok {
		return lost.Cause
	}
	return err
}

// acquired notes a grant, and checks its token (L2) and the order of the waiters (L6).
func (j *lockJudge) acquired(k *lockCall, l *lockLedger, r lockservice.Result) {
	c := j.c
	l.waiting = slices.DeleteFunc(l.waiting, func(o *lockCall) bool { return o == k })
	l.holding = slices.DeleteFunc(l.holding, func(o *lockCall) bool { return o.state == callOver && o.until <= c.now })
	before := l.excluding(k.Mode)
	if k.resumed && !j.stoodStill(k) {
		j.goesOn(k, l, r)
	}
	k.state, k.token, k.granted, k.inst = callHolds, r.Token, c.now, r.Inst
	if k.Bearer {
		l.bearer = k
	}
	if !j.settling {
		c.note(Granted, k.p.index, "holds %s%s with token %d", k.Lock, map[lockservice.Mode]string{lockservice.Shared: " shared"}[k.Mode], r.Token)
	}
	if !k.resumed && r.Token <= before && j.ordered() && !j.stoodStill(k) {
		c.judge.violate(k.p.index, "L2: %s gets %s with token %d, and %d was given before", k.p.name, k.Lock, r.Token, before)
	}
	l.high = max(l.high, r.Token)
	if k.Mode == lockservice.Exclusive {
		l.highX = max(l.highX, r.Token)
	}
	l.written = max(l.written, r.Token) // each holder writes as soon as it has the lock
	l.holding = append(l.holding, k)
	j.cover(k, l)
	for _, o := range l.waiting {
		ordered := !o.Try && !k.Try && o.p != k.p && (o.Mode == lockservice.Exclusive || k.Mode == lockservice.Exclusive)
		if ordered && !c.judge.hostile && o.asked+latencyBound < k.asked {
			c.judge.violate(k.p.index, "L6: %s gets %s, and %s asked for it %v earlier", k.p.name, k.Lock, o.p.name, k.asked-o.asked)
		}
	}
}

// ordered reports whether tokens must rise. They need not if a voter forgot its tokens, and
// the clocks differ by more than its silence covers. With a disk its silence covers nothing.
func (j *lockJudge) ordered() bool { return !j.forgot || j.c.spread() <= wallSkew && !j.c.cfg.Disk }

// extended notes the new end of a holder's window, and checks that it overlaps no window
// that excludes it (L1).
func (j *lockJudge) extended(k *lockCall, l *lockLedger, r lockservice.Result) {
	c := j.c
	if k.p.frozen == 0 {
		k.sent = k.p.whenBoot(r.Deadline - k.TTL)
		k.ends, k.until = max(k.ends, k.p.whenBoot(r.End)), max(k.until, k.p.whenBoot(r.Deadline))
	} else {
		k.ends, k.until = forever, forever
	}
	for _, o := range l.holding {
		if o.inst == k.inst || o.Mode == lockservice.Shared && k.Mode == lockservice.Shared || o.until <= c.now {
			continue
		}
		if o.p.frozen > 0 || k.p.frozen > 0 || min(o.sent, k.sent) < c.thawed {
			c.reached("a clock stood still, and two held one lock")
			continue
		}
		c.judge.violate(k.p.index, "L1: %s holds %s with token %d, and %s with token %d until %v later", k.p.name, k.Lock, k.token, o.p.name, o.token, o.until-c.now)
	}
}

const forever = time.Duration(1 << 62)

// ended notes that a client does not hold the lock or wait for it any more, and has stopped.
func (j *lockJudge) ended(k *lockCall) {
	l := j.of(k.Lock)
	l.waiting = slices.DeleteFunc(l.waiting, func(o *lockCall) bool { return o == k })
	l.holding = slices.DeleteFunc(l.holding, func(o *lockCall) bool { return o == k || k.state == callHolds && o.inst == k.inst })
	k.until = min(k.until, j.c.now)
	j.over(k, l)
}

// ranOut notes that a client hears that the time of its lease has run out. It stops at the
// deadline of the lease, unless it releases the lease before: until then its window lasts.
func (j *lockJudge) ranOut(k *lockCall, l *lockLedger) {
	if k.until > j.c.now {
		j.c.reached("a holder had time to stop")
	}
	j.over(k, l)
}

func (j *lockJudge) over(k *lockCall, l *lockLedger) {
	if k.state == callHolds {
		l.over = append(l.over, k)
	}
	k.state = callOver
}

// answered checks the answer to a renewal or release (L3): over says that the client does
// not hold the lock.
func (j *lockJudge) answered(k *lockCall, what string, over bool, err error) {
	switch {
	case !over && err != nil:
		j.c.judge.violate(k.p.index, "L3: the %s of %s by its holder %s fails: %v", what, k.Lock, k.p.name, err)
	case over && err == nil:
		j.c.judge.violate(k.p.index, "L3: %s, who does not hold %s, has its %s taken", k.p.name, k.Lock, what)
	case over:
		j.c.reached("who holds nothing was told so")
	}
}

// resumed notes the late writes of holders at a peer that is resumed. Such a holder writes
// once more before it looks at the time, and its token must stop the write.
func (j *lockJudge) resumed(p *Peer) {
	for _, lock := range slices.Sorted(maps.Keys(j.ledgers)) {
		l := j.ledgers[lock]
		for _, k := range l.holding {
			if k.p != p || k.state == callOver || k.until > j.c.now {
				continue
			}
			j.c.reached("a holder was stopped beyond its lease")
			if k.token < l.written {
				j.c.reached("a late write was stopped by its token")
			}
		}
	}
}

// cover counts the rare states of a grant.
func (j *lockJudge) cover(k *lockCall, l *lockLedger) {
	c := j.c
	if slices.ContainsFunc(l.holding, func(o *lockCall) bool { return o.inst != k.inst && o.until > c.now }) {
		c.reached("a lock was shared")
	}
	if c.net.cuts.count > 0 {
		c.reached("a lock was granted during a cut")
	}
	for i, s := range k.p.sees {
		q := c.peers[i]
		if q != k.p && (s.alive && !k.p.suspects[i]) != c.net.reaches(k.p, q) {
			c.reached("a lock was granted in a false view")
			break
		}
	}
	if k.p.voters.Epoch > 1 {
		c.reached("a lock was granted by voters that came later")
	}
}

// settle has every client release its lock, and waits until no voter is silent and all
// peers have the last list of voters. It then checks that each lock can be acquired (L5).
func (j *lockJudge) settle() {
	c := j.c
	if c.cfg.Locks.Voters == 0 {
		return
	}
	for _, lock := range slices.Sorted(maps.Keys(j.ledgers)) {
		l := j.ledgers[lock]
		calls := slices.Concat(l.waiting, l.holding)
		slices.SortFunc(calls, func(a, b *lockCall) int {
			return cmp.Or(cmp.Compare(a.p.index, b.p.index), cmp.Compare(a.id, b.id))
		})
		for _, k := range calls {
			k.release()
		}
	}
	if !j.wait(j.quiet(), func() bool { return !slices.ContainsFunc(c.peers, j.unsettled) }) {
		c.judge.violate(0, "L5: %v after the last fault a voter is still silent, or has not the last list", j.quiet())
	}
	j.settling = true
	for i, lock := range slices.Sorted(maps.Keys(j.ledgers)) {
		if _, _, item := queue.ParseLock(lock); item {
			continue // the lock of a finished item is barred for good
		}
		p := c.peers[i%len(c.peers)]
		k, err := p.acquire(lockservice.Call{Lock: lock, TTL: c.cfg.Locks.MaxTTL}, nil)
		if err != nil {
			c.judge.violate(p.index, "L5: %s cannot ask for %s: %v", p.name, lock, err)
			continue
		}
		if !j.wait(lockPatience+c.cfg.Locks.MaxTTL*5/4, func() bool { return k.state == callHolds }) {
			c.judge.violate(p.index, "L5: %s does not get %s in %v: %v", p.name, lock, lockPatience+c.cfg.Locks.MaxTTL*5/4, p.locks.node.Obstacle(k.id))
		}
		k.release()
	}
	if len(j.ledgers) > 0 {
		c.note(Agreed, 0, "each lock was to be had again")
	}
	for _, p := range c.peers {
		if p.locks.node.Stats().Splits > 0 {
			c.reached("owners split a vote")
		}
	}
}

// lockPatience is the time until every view is right again, with a margin.
const lockPatience = 12 * time.Second

// quiet is the time until no voter is silent and all peers have the last list of voters.
func (j *lockJudge) quiet() time.Duration {
	return 2*lockPatience + time.Duration(len(j.lists))*(j.c.cfg.Locks.MaxTTL+wallSkew)*5/4
}

// unsettled reports whether p is a silent voter or does not have the last list of voters.
func (j *lockJudge) unsettled(p *Peer) bool {
	return p.locks.node.Quarantine(p.lockTime()) > 0 || int(p.voters.Epoch) < len(j.lists)
}

// wait runs until done returns true, for at most most. It reports whether done did.
func (j *lockJudge) wait(most time.Duration, done func() bool) bool {
	for until := j.c.now + most; !done(); {
		if j.c.now >= until {
			return false
		}
		j.c.Run(100 * time.Millisecond)
	}
	return true
}
