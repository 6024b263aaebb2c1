package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// ErrClockSkew refuses a write because this peer's clock is further ahead of the other peers' clocks
// than allowed: they would not merge the write.
var ErrClockSkew = errors.New("this peer's clock is too far ahead of the cluster's")

// Config configures a Replica.
type Config struct {
	Name   string
	Rules  *crdt.Rules
	Gossip gossip.Config // Self is the replica's first actor
	// NewActor makes the next actor of this replica, when another peer turns out to write
	// as the present one.
	NewActor  func(now time.Time) clock.Actor
	Conflicts int  // greatest number of lost concurrent writes that are kept; 1,024 by default
	MaxBytes  int  // bytes of memory that local writes may fill; 0 for no limit
	Journal   bool // Ready.Journal carries what is to be written to disk
}

// Replica is one peer's state machine.
type Replica struct {
	cfg    Config
	hlc    clock.HLC
	store  *crdt.Store
	engine *gossip.Engine
	actor  clock.Actor

	collectAt time.Time       // when removals are collected next
	inspected int             // number of collections so far
	doubles   []string        // names that more than one living peer has
	ackEpoch  uint64          // the engine's AckEpoch at the last Ready
	rotated   bool            // the actor changed since the last Ready
	notices   []Notice        // notices for the next Ready
	named     map[Notice]bool // problems that exist now, so that each is reported once
	filling   bool            // the problem Filling was reported and still exists
	rivals    uint64          // number of second contents in the store that were noticed
	rivalAt   time.Time       // when the latest of them was noticed
	sustains  map[string]sustained
	sustainAt time.Time // when the sustained records are looked at next
	faults    []error   // errors of the replica's own writes, for the next Ready
}

const (
	collectEvery = time.Second // pause between collections of stable removals
	inspectEvery = 4           // one collection in so many also inspects the peers and retires actors
	rivalStands  = time.Hour   // how long the problem TwoContents lasts after a second content came
)

// New returns an empty replica that starts now.
func New(now time.Time, cfg Config) *Replica {
	cfg.Gossip.Rules = cfg.Rules.Fingerprint()
	store := crdt.New(crdt.Config{Actor: cfg.Gossip.Self, Rules: cfg.Rules, Conflicts: cfg.Conflicts, MaxBytes: cfg.MaxBytes, Journal: cfg.Journal})
	return &Replica{
		cfg:    cfg,
		store:  store,
		engine: gossip.New(cfg.Gossip, store),
		actor:  cfg.Gossip.Self,
		named:  make(map[Notice]bool),

		sustains: make(map[string]sustained),

		collectAt: now.Add(collectEvery),
	}
}

// Store returns the store. Its Load, Keys and Len may be called from any goroutine; its other methods
// only by the replica's owner, which must not write to it.
func (r *Replica) Store() *crdt.Store { return r.store }

// Actor returns the actor as which this replica writes.
func (r *Replica) Actor() clock.Actor { return r.actor }

// Written is the result of a write.
type Written struct {
	Last  uint64 // sequence number of this actor's latest write
	Stamp clock.Timestamp
}

// Write applies ops as one batch: all of them or none. An urgent write is sent without waiting for the
// batch interval. Errors are those of crdt.Store.Apply and ErrClockSkew.
func (r *Replica) Write(now time.Time, urgent bool, ops ...crdt.Op) (Written, error) {
	stamp, err := r.nextStamp(now)
	if err != nil {
		return Written{}, err
	}
	deltas, err := r.store.Apply(stamp, millis(now), ops...)
	if err != nil {
		return Written{}, err
	}
	return r.push(now, stamp, deltas, urgent), nil
}

// Update calls decide with an empty batch, and commits what decide has added to it as Write does, or
// nothing if decide fails. decide also says whether the write is urgent. Errors are that of decide,
// those of crdt.Batch.Commit, and ErrClockSkew.
func (r *Replica) Update(now time.Time, decide func(b *crdt.Batch) (urgent bool, err error)) (Written, error) {
	stamp, err := r.nextStamp(now)
	if err != nil {
		return Written{}, err
	}
	b := crdt.Begin(r.store, stamp, millis(now))
	urgent, err := decide(b)
	if err != nil {
		return Written{}, err
	}
	deltas, err := b.Commit()
	if err != nil {
		return Written{}, err
	}
	return r.push(now, stamp, deltas, urgent), nil
}

// nextStamp returns the stamp of a write that is made now, or ErrClockSkew.
func (r *Replica) nextStamp(now time.Time) (clock.Timestamp, error) {
	stamp := r.hlc.Next(now)
	if limit := r.engine.Limit(now); stamp > limit && !r.follows(now, stamp, limit) {
		return 0, r.skew(now, stamp)
	}
	return stamp, nil
}

// push sends the deltas of a write.
func (r *Replica) push(now time.Time, stamp clock.Timestamp, deltas []crdt.Delta, urgent bool) Written {
	if len(deltas) > 0 {
		r.hlc.Now(now)
		r.engine.Push(now, deltas, urgent)
	}
	return Written{r.store.Last(), stamp}
}

// follows reports whether stamp is only a little after limit, because this peer has merged a write
// that came just within an earlier limit: the clock of a peer that came or went has moved the
// limit back since. The other peers merge such a write a little later.
func (r *Replica) follows(now time.Time, stamp, limit clock.Timestamp) bool {
	return clock.TimestampAt(now) < limit && stamp.Time().Sub(limit.Time()) < limitMoves
}

// limitMoves is how far clocks that are within their bounds can move the limit.
const limitMoves = 15 * time.Second

// skew returns the error of a write with stamp: the clock is ahead, or was ahead at an earlier write.
func (r *Replica) skew(now time.Time, stamp clock.Timestamp) error {
	if ahead := stamp.Time().Sub(now); ahead > time.Second {
		return fmt.Errorf("%w: it was, when the latest write was stamped %v, and has been set back since; writes go on in %v",
			ErrClockSkew, stamp.Time().UTC().Format(time.RFC3339), stamp.Time().Sub(r.engine.Limit(now).Time()).Round(time.Second))
	}
	return fmt.Errorf("%w, which is %v", ErrClockSkew, now.Add(r.engine.Offset()).UTC().Format(time.RFC3339))
}

func millis(now time.Time) uint64 { return uint64(max(now.UnixMilli(), 0)) }

// Receive merges a frame from the network. It neither keeps nor changes the frame. A frame that is
// refused gives a *gossip.FrameError.
func (r *Replica) Receive(now time.Time, frame []byte) error {
	if r.store.NextExpiry() <= millis(now) {
		r.store.Expire(millis(now)) // readers see no more what has ended, and a deadline in the frame may bring it back
	}
	err := r.engine.Receive(now, frame)
	r.hlc.Observe(r.engine.MaxStamp())
	if r.engine.Cloned() {
		r.rotate(now)
	}
	return err
}

// rotate gives this replica a new actor, because another peer writes as the old one and a dot must
// never name two writes (I3).
func (r *Replica) rotate(now time.Time) {
	old := r.actor
	r.actor = r.cfg.NewActor(now)
	r.store.SetActor(r.actor)
	r.engine.SetSelf(r.actor)
	r.rotated = true
	r.notices = append(r.notices, Notice{Problem: Clone, Name: r.cfg.Name, Detail: "somebody else writes as " + old.String()})
}

// SetMembers tells the replica which other peers there are.
func (r *Replica) SetMembers(now time.Time, peers []gossip.Peer) {
	r.engine.SetView(now, peers)
	names := make(map[string]int, 1+len(peers))
	names[r.cfg.Name] = 1
	r.doubles = nil
	for _, p := range peers {
		if p.Alive && p.Actor != r.actor {
			if names[p.Name]++; names[p.Name] == 2 {
				r.doubles = append(r.doubles, p.Name)
			}
		}
	}
	r.inspect(now)
}

// Tick does what is due.
func (r *Replica) Tick(now time.Time) {
	r.engine.Tick(now)
	if at := r.store.NextExpiry(); at <= millis(now) {
		r.store.Expire(millis(now))
	}
	if !now.Before(r.collectAt) {
		r.collectAt = now.Add(collectEvery)
		r.sustain(now)
		r.store.DropOutlines(millis(now))
		if r.store.Collectable() {
			r.store.Collect(r.engine.Stable(now), r.engine.Settled(now), millis(now))
		}
		if r.inspected++; r.inspected%inspectEvery == 0 {
			r.inspect(now)
			r.engine.Retire(now)
		}
	}
}

// Deadline returns when Tick has something to do.
func (r *Replica) Deadline() time.Time {
	at := r.engine.Deadline()
	if at.IsZero() || r.collectAt.Before(at) {
		at = r.collectAt
	}
	if ms := r.store.NextExpiry(); ms < uint64(at.UnixMilli()) {
		at = time.UnixMilli(int64(ms))
	}
	return at
}

// fills reports the problem Filling once when the store takes four fifths of its limit, and again
// only after it has taken less than three quarters of it.
func (r *Replica) fills() {
	used, limit := r.store.Memory(), r.cfg.MaxBytes
	if limit == 0 {
		return
	}
	if full := used >= limit/5*4; full && !r.filling {
		r.notices = append(r.notices, Notice{Problem: Filling, Name: r.cfg.Name,
			Detail: fmt.Sprintf("the store takes %d of %d bytes; beyond, writes here that add to it are refused", used, limit)})
		r.filling = true
	}
	r.filling = r.filling && used >= limit/4*3
}

// contested returns the problem TwoContents, and whether it exists: for rivalStands after a dot
// came with a second content.
func (r *Replica) contested(now time.Time) (Notice, bool) {
	n, last := r.store.Rivals()
	if n != r.rivals {
		r.rivals, r.rivalAt = n, now
	}
	return Notice{Problem: TwoContents, Name: r.nameOf(last.Dot.Actor),
		Detail: fmt.Sprintf("its write %v of the key %q came with two contents: it lies, was copied while it ran, or memory is broken", last.Dot, last.Key),
	}, n > 0 && now.Sub(r.rivalAt) < rivalStands
}

// nameOf returns the name of the peer that writes as a, or a itself as text if that is not known.
func (r *Replica) nameOf(a clock.Actor) string {
	if a == r.actor {
		return r.cfg.Name
	}
	return cmp.Or(r.engine.NameOf(a), a.String())
}

// inspect computes the problems that exist at the time at, and reports those that have begun.
func (r *Replica) inspect(at time.Time) {
	now := make(map[Notice]bool)
	for _, name := range r.doubles {
		now[Notice{Problem: DuplicateName, Name: name}] = true
	}
	if r.engine.Skewed() {
		now[Notice{Problem: ClockSkew, Name: r.cfg.Name}] = true
	}
	r.engine.Odd(func(name string, clockSkewed, rulesDiffer bool) {
		if clockSkewed {
			now[Notice{Problem: ClockSkew, Name: name}] = true
		}
		if rulesDiffer {
			now[Notice{Problem: RulesDiffer, Name: name}] = true
		}
	})
	if n, ok := r.contested(at); ok {
		now[n] = true
	}
	r.engine.Disputed(func(name string, _ int) {
		now[Notice{Problem: Disputed, Name: name, Detail: "it says of more than a few records that they are gone, and no other peer does: " +
			"they stay for ten minutes, unless another says so too"}] = true
	})
	r.fills()
	var fresh []Notice
	for n := range now {
		if !r.named[n] {
			fresh = append(fresh, n)
		}
	}
	slices.SortFunc(fresh, Notice.compare)
	r.notices = append(r.notices, fresh...)
	r.named = now
}
