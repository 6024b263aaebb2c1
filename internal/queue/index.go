package queue

import (
	"cmp"
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Config is what an index is told once.
type Config struct {
	Name        string                 // of the queue
	Self        string                 // the peer
	Alive       func(peer string) bool // whether a peer of that name is up
	Seed        uint64                 // of the jitter of retries
	MaxItems    int                    // not done
	MaxAttempts int                    // of an item that says nothing of it
	Retention   time.Duration          // of a result
}

// attempts returns how often an item is tried at most.
func (c *Config) attempts(e *entry) int {
	if e.head.MaxAttempts > 0 {
		return e.head.MaxAttempts
	}
	return c.MaxAttempts
}

// Counters count what this peer did with a queue.
type Counters struct {
	Enqueued  uint64
	Claimed   uint64
	Completed uint64
	Failed    uint64
	Dead      uint64
	Lost      uint64 // claims that ended before they were finished
	Contended uint64 // tries for items that another peer had
}

// Index is what a peer knows of one work queue, and what it does about it. Changes come
// in any order and any number of times, and what is known comes out the same. One caller
// at a time; after each call Woken and Next say what the caller is to do for those who
// wait.
type Index struct {
	cfg     Config
	rng     *rand.Rand
	entries map[string]*entry
	ready   ready
	later   pile // by when they are due
	count   map[State]int
	setting Setting
	line
	litter

	Counters Counters
}

// New returns an index that knows nothing yet.
func New(cfg Config) *Index {
	return &Index{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15)),
		entries: make(map[string]*entry), count: make(map[State]int), later: pile{less: sooner},
		ready: ready{self: cfg.Self, own: pile{less: ahead}, rest: pile{less: ahead}, doubted: pile{less: ahead}, rivals: make(map[string]time.Time)}}
}

// Change takes what a key holds from now on: of a change its New, Stamp and Cause.
func (x *Index) Change(now time.Time, k Key, ch *crdt.Change) {
	value := ch.New
	switch k.part {
	case itemsPart:
		head, present := readItem(value)
		x.item(now, k.ID, present, head, ch.Stamp)
	case claimsPart:
		if value.IsZero() {
			x.unjudge(now, k.ID, k.token, ch.Cause == crdt.CauseExpired)
		} else if c, ok := readClaim(value); ok {
			x.judge(now, k.ID, k.token, c)
		}
	case settingPart:
		var s Setting
		if !value.IsZero() {
			_ = value.Decode(&s) // what is no setting sets nothing
		}
		x.Set(s)
	}
}

// Set takes what holds for the queue on all peers.
func (x *Index) Set(s Setting) {
	x.setting = s
	x.wake()
}

// Setting returns what holds for the queue on all peers.
func (x *Index) Setting() Setting { return x.setting }

func (x *Index) entry(id string) *entry {
	e := x.entries[id]
	if e == nil {
		e = &entry{id: id}
		x.entries[id] = e
	}
	return e
}

// item takes that an item is there, or gone.
func (x *Index) item(now time.Time, id string, present bool, head itemHead, stamp clock.Timestamp) {
	e := x.entry(id)
	e.present = present
	if present { // else what it was is still told of what is done
		e.head, e.stamp = head, stamp
	}
	x.settle(e, now)
}

// judge takes what a claim says (Q2).
func (x *Index) judge(now time.Time, id string, token uint64, c claimHead) {
	e, v := x.entry(id), verdictOf(c.State)
	if cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0 {
		if token < e.token && e.claim.Worker == x.cfg.Self { // it came late
			x.collect(ClaimKey(x.cfg.Name, id, token))
		}
		return
	}
	e.token, e.verdict, e.claim, e.attempts = token, v, c, c.Attempt
	if c.Worker != x.cfg.Self {
		x.ready.rivals[c.Worker] = now
	}
	e.until = time.Time{}
	if v == claimed && !e.mine {
		e.until = now.Add(time.Duration(c.TTL) * time.Millisecond)
	}
	x.settle(e, now)
}

// unjudge takes that the record of a claim is gone. What is done is forgotten when its
// result expires. A record that was removed was overruled by the next claim, whose own
// may come later than this one's removal, or never: so the item stays, even if this
// claim had said, too late, that it is done; and the number of its attempts is kept.
func (x *Index) unjudge(now time.Time, id string, token uint64, expired bool) {
	e := x.entries[id]
	if e == nil || e.token != token {
		return
	}
	if e.verdict == done && e.present && expired {
		x.collect(ItemKey(x.cfg.Name, id))
		e.present = false
	}
	e.token, e.verdict, e.claim, e.until = 0, unclaimed, claimHead{}, time.Time{}
	x.settle(e, now)
}
