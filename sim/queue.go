package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// workshop is the work queues of one life of a peer: the machine of package queue for each
// of them, and the workers. It plays the part of the agent.
type workshop struct {
	p        *Peer
	queues   map[string]*workQueue
	ending   []*worker // the workers whose verdicts wait for acknowledgements
	deferred []func()  // the calls that wait for the end of a pause
	closed   bool      // all workers have stopped for good

	first     bool // no earlier life has acknowledged writes that this life does not have
	recovered bool // this life has all writes that earlier lives have acknowledged
}

// workQueue is one queue at one life of a peer.
type workQueue struct {
	shop  *workshop
	name  string
	core  *queue.Index
	turns map[uint64]*worker // the workers that wait for an item, by turn
	timer uint64             // the number of the timer that is not cancelled
	armed time.Duration      // the time of that timer; -1: there is none
	tried map[string]bool    // the items that this life has tried to claim, by ID
}

// The settings of the agent, at their defaults.
const (
	queueItems    = 1 << 20
	queueAttempts = 5
	retention     = time.Hour
	sweepEvery    = 10 * time.Second
)

// newWorkshop begins the queues of a life with the records of its store.
func newWorkshop(p *Peer) *workshop {
	s := &workshop{p: p, queues: map[string]*workQueue{}, first: p.births == 1 || p.disk != nil && !p.disk.empty()}
	var keys []string
	p.r.Store().Ascend(crdt.KeyRange{}, func(key string, _ crdt.Entry, _ bool) bool {
		if _, ok := queue.ParseKey(key); ok {
			keys = append(keys, key)
		}
		return true
	})
	for _, key := range keys {
		if e, ok := p.Get(key); ok {
			k, _ := queue.ParseKey(key)
			s.queue(k.Queue).do(func(core *queue.Index, now time.Time) {
				core.Change(now, k, &crdt.Change{New: e.Value(), Stamp: e.Stamp()})
			})
		}
	}
	return s
}

// queue returns a queue, and makes it if there is none of that name.
func (s *workshop) queue(name string) *workQueue {
	q := s.queues[name]
	if q == nil {
		p := s.p
		q = &workQueue{shop: s, name: name, turns: map[uint64]*worker{}, armed: -1, tried: map[string]bool{}}
		q.core = queue.New(queue.Config{Name: name, Self: p.name, Alive: p.believes, Seed: p.c.cfg.Seed ^ uint64(p.index)<<16 ^ p.births,
			MaxItems: queueItems, MaxAttempts: queueAttempts, Retention: retention})
		s.queues[name] = q
		s.later(sweepEvery, q.sweep)
	}
	return q
}

// believes reports whether p takes the peer of that name for alive.
func (p *Peer) believes(name string) bool {
	n, err := strconv.Atoi(name[1:])
	return err == nil && (n == p.index+1 || p.takesForAlive(p.c.peers[n-1]))
}

// later plans run for d from now.
func (s *workshop) later(d time.Duration, f func()) {
	c := s.p.c
	c.At(c.now+d, func() { s.run(f) })
}

// run calls f, or defers the call to the end of a pause. It drops f once this life has ended.
func (s *workshop) run(f func()) {
	switch p := s.p; {
	case p.work != s || !p.up || s.closed:
	case p.paused:
		s.deferred = append(s.deferred, f)
	default:
		f()
	}
}

// resume makes the calls that were deferred during a pause.
func (s *workshop) resume() {
	held := s.deferred
	s.deferred = nil
	for _, f := range held {
		s.run(f)
	}
}

// takeChanges gives the changes of the replica to the queues. As in the agent, the queues have a
// write before the peer acknowledges it.
func (s *workshop) takeChanges(changes []crdt.Change) {
	for i := range changes {
		c := &changes[i]
		k, ok := queue.ParseKey(c.Key)
		if !ok || c.Cause == crdt.CauseConflict || c.Lazy {
			continue
		}
		s.queue(k.Queue).do(func(core *queue.Index, now time.Time) { core.Change(now, k, c) })
	}
	if !s.recovered {
		s.recovered = queue.Recovered(s.p.voters.Names, s.p.name, s.p.r.View().SyncedWith(), s.first)
	}
}

// barred reports whether the voter at p must not certify a token for a lock. The voter asks
// in every round.
func (p *Peer) barred(lock string, token uint64) bool {
	name, id, ok := queue.ParseLock(lock)
	if !ok {
		return false
	}
	if !p.work.recovered {
		return true
	}
	q := p.work.queues[name]
	return q != nil && q.core.Bars(p.wall(), id, token)
}

// do runs f on the machine. It then starts the workers that the machine has woken, and sets
// the timer.
func (q *workQueue) do(f func(core *queue.Index, now time.Time)) {
	p := q.shop.p
	f(q.core, p.wall())
	for _, turn := range q.core.Woken() {
		w := q.turns[turn]
		delete(q.turns, turn)
		q.shop.later(0, w.begin)
	}
	at, ok := q.core.Next()
	if !ok {
		return
	}
	due := max(p.when(at), p.c.now+time.Millisecond)
	if q.armed >= 0 && q.armed <= due {
		return
	}
	q.timer++
	timer := q.timer
	q.armed = due
	q.shop.later(due-p.c.now, func() {
		if q.timer == timer {
			q.armed = -1
			q.do(func(core *queue.Index, now time.Time) { core.Tick(now) })
		}
	})
}

// sweep removes records that have lost their meaning, every sweepEvery.
func (q *workQueue) sweep() {
	if ops := q.core.Stale(crdt.MaxOps); len(ops) > 0 {
		_ = q.shop.p.write(false, ops) // records that stay expire
	}
	q.shop.later(sweepEvery, q.sweep)
}

// enqueue adds an item as the agent does.
func (q *workQueue) enqueue(item queue.Item) {
	p := q.shop.p
	if !p.up || p.paused {
		return
	}
	f := newFate(p.c.cfg.Seed, uint64(p.index), uint64(p.c.now))
	op, id, err := queue.Add(p.wall(), q.name, item, f.next())
	for item.ID == "" && err == nil && q.knows(id) { // two items of one instant would share an id
		op, id, err = queue.Add(p.wall(), q.name, item, f.next())
	}
	if err != nil || q.core.Admit(1) != nil {
		return
	}
	if op.If != nil && q.core.Known(id) {
		p.c.reached("an id was taken")
		return
	}
	known := q.knows(id)
	if p.write(true, []crdt.Op{op}) == nil {
		p.c.judge.enqueued(q, id, known)
	}
}

// requeue makes the dead items pending again.
func (q *workQueue) requeue() {
	for _, ops := range q.core.Requeue(nil) {
		q.shop.p.c.judge.claims(q)
		if q.shop.p.write(true, ops) == nil {
			q.shop.p.c.reached("a dead item was tried again")
		}
	}
}

// queueVerbs are the verbs of the steps of work queues.
var queueVerbs = []string{"enqueue", "work", "requeue"}

// queue parses a step of a work queue: see [Cluster.Do].
func (c steps) queue(p *Peer, words []string) (func(), error) {
	name, args := arg(words, 1), words[min(2, len(words)):]
	if err := queue.CheckName(name); err != nil {
		return nil, err
	}
	if c.cfg.Locks.Voters == 0 {
		return nil, fmt.Errorf("there are no voters: a line like \"locks voters=3\" is wanted at the beginning")
	}
	c.barred = (*Peer).barred
	switch words[0] {
	case "requeue":
		return func() {
			if p.up && !p.paused {
				p.work.queue(name).requeue()
			}
		}, nil
	case "enqueue":
		item, err := c.item(args)
		return func() { p.work.queue(name).enqueue(item) }, err
	}
	j, err := parseJob(args)
	if err == nil && (j.to < 0 || j.to > c.Peers()) {
		err = fmt.Errorf("a peer from 1 to %d is wanted, not to=%d", c.Peers(), j.to)
	}
	return func() {
		if p.up {
			s := p.work
			s.run((&worker{q: s.queue(name), job: j}).begin)
		}
	}, err
}

// item parses "VALUE priority=1 delay=2s id=x attempts=3".
func (c steps) item(args []string) (item queue.Item, err error) {
	if item.Value, err = c.memo.value(arg(args, 0)); err != nil || len(args) == 0 {
		return item, fmt.Errorf("a value is wanted")
	}
	err = options(args[1:], func(name, value string) (err error) {
		switch name {
		case "priority":
			item.Priority, err = strconv.Atoi(value)
		case "attempts":
			item.MaxAttempts, err = strconv.Atoi(value)
		case "delay":
			item.Delay, err = duration([]string{value}, 0)
		case "id":
			item.ID = value
		default:
			err = fmt.Errorf("priority=, delay=, id= or attempts= is wanted, not %q", name)
		}
		return err
	})
	if err == nil {
		_, _, err = queue.Add(epoch, "q", item, 0)
	}
	return item, err
}
