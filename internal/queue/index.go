package queue

import (
	"cmp"
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Config configures an Index. All fields are mandatory.
type Config struct {
	Name        string                 // name of the queue
	Self        string                 // name of this peer
	Alive       func(peer string) bool // reports whether the peer is up
	Seed        uint64                 // seed of the jitter of back-offs
	MaxItems    int                    // greatest number of items that are not done
	MaxAttempts int                    // greatest number of attempts of an item that does not set its own
	Retention   time.Duration          // how long the result of an item is kept
}

// attempts returns the greatest number of attempts of an item.
func (c *Config) attempts(e *entry) int {
	if e.head.MaxAttempts > 0 {
		return e.head.MaxAttempts
	}
	return c.MaxAttempts
}

// Counters counts what this peer did with a queue since it started.
type Counters struct {
	Enqueued  uint64
	Claimed   uint64
	Completed uint64
	Failed    uint64
	Dead      uint64
	Lost      uint64 // claims whose lease ended before they were finished, or whose ending was not valid
	Lapsed    uint64 // claims that ended at Lapse
	Contended uint64 // tries for items that another peer had
}

// Index holds a peer's knowledge of one work queue, and decides what the peer does. Changes may
// arrive in any order and any number of times, and lead to the same knowledge. It is not safe
// for concurrent use. After each call the caller serves the waiters that Woken returns, and
// calls Tick at the time of Next.
type Index struct {
	cfg     Config
	rng     *rand.Rand
	entries map[string]*entry
	ready   ready
	later   pile // entries that are not due, ordered by when they are
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
		ready: ready{self: cfg.Self, less: ahead, doubted: pile{less: ahead}, rivals: make(map[string]time.Time)}}
}

// Change notes the new value of a key of this queue. It reads New, Stamp and Cause of ch.
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
			_ = value.Decode(&s) // a malformed value counts as the zero Setting
		}
		x.Set(s)
	}
}

// Set replaces the setting of the queue.
func (x *Index) Set(s Setting) {
	x.setting = s
	x.wake()
}

// Setting returns the setting of the queue.
func (x *Index) Setting() Setting { return x.setting }

func (x *Index) entry(id string) *entry {
	e := x.entries[id]
	if e == nil {
		e = &entry{id: id}
		x.entries[id] = e
	}
	return e
}

// item notes that an item was written or deleted.
func (x *Index) item(now time.Time, id string, present bool, head itemHead, stamp clock.Timestamp) {
	e := x.entry(id)
	e.present = present
	if present { // the head of a deleted item is kept, since Look shows it with the result
		e.head, e.stamp = head, stamp
	}
	x.settle(e, now)
}

// judge notes the record of a claim. It counts only if its token is greater than that of the claim
// known so far, or the token is the same and the verdict is greater (Q2).
func (x *Index) judge(now time.Time, id string, token uint64, c claimHead) {
	e, v := x.entry(id), verdictOf(c.State)
	if cmp.Or(cmp.Compare(token, e.token), cmp.Compare(v, e.verdict)) <= 0 {
		if token < e.token && e.claim.Worker == x.cfg.Self { // the record was superseded before it arrived
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

// unjudge notes that the record of a claim is gone. A record that expired takes its item with it, if
// that was done. A record that was deleted has been superseded by the next claim, whose own
// record may arrive later, or never: the item stays, even if the old claim had said too late
// that it is done, and the number of its attempts is kept.
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
