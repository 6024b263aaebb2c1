package lockservice

import (
	"slices"
	"time"
)

// acceptor is the role that safety rests on: it certifies an instance for a time,
// and refuses every other instance that conflicts until then. It believes an owner
// about one thing only: which instances their own clients have released (O4).
type acceptor struct {
	cfg    Config
	epoch  uint64
	hash   uint64               // of the configuration that voters of one epoch must share
	live   map[string][]*record // by lock: several only if all are shared
	sets   map[Inst]*recordSet  // by the name of a bundle
	floors [shards]floors
	gone   tombstones // bearers' instances whose release was seen (A8)

	quarantineUntil time.Duration
	reserved        uint64 // greatest token that may be acknowledged; see reserve
	requested       State  // what reserve returned last
	highest         uint64 // greatest token proposed to this acceptor so far
	stats           *Stats
}

// floors are the highest tokens acknowledged for the locks of a shard.
type floors struct {
	of     map[string]uint64 // by lock
	folded uint64            // greatest floor that was dropped from of since the start of this process
	base   uint64            // floor of every lock of the shard: at least folded, and the bounds of earlier lives and other voters
	most   int               // how many entries of may have before fold drops those of idle locks
}

// record is one instance certified for one lock.
type record struct {
	inst  Inst
	mode  Mode
	round uint64
	token uint64
	prev  uint64 // floor of the lock when this instance came: the highest token of any other
	until time.Duration
	lock  string
	set   *recordSet // the bundle that it is in, or nil
	slot  int        // index in the records of set
}

// foldAt is the least number of floors that a shard keeps before fold is called.
const foldAt = 1024

func newAcceptor(cfg Config, now time.Duration, stats *Stats) *acceptor {
	a := &acceptor{cfg: cfg, live: make(map[string][]*record), sets: make(map[Inst]*recordSet), stats: stats}
	if !cfg.FirstBoot { // A6
		a.quarantineUntil = now + cfg.Quarantine
	}
	for i := range a.floors {
		a.floors[i] = floors{of: make(map[string]uint64), base: cfg.State.TokenBound, most: foldAt}
	}
	a.reserved, a.highest, a.requested = cfg.State.TokenBound, cfg.State.TokenBound, cfg.State
	if !cfg.Durable {
		a.reserved = MaxToken
	}
	return a
}

// accept answers an Accept with an Ack or a Nack. It returns the zero Message, and answers
// later when the owner repeats the round, if the token is above the bound on disk.
func (a *acceptor) accept(t Time, m *Message) Message {
	if left := a.quarantineUntil - t.Mono; left > 0 { // A0
		return a.nack(m, Message{Reason: Quarantined, Left: left})
	}
	if m.TTL > a.cfg.MaxTTL || m.TTL <= 0 {
		return a.nack(m, Message{Reason: TooLong, Left: a.cfg.MaxTTL})
	}
	if m.Epoch != a.epoch { // R1; a newer one must be adopted here first
		return a.nack(m, Message{Reason: WrongEpoch})
	}
	if m.Hash != a.hash { // R6
		return a.nack(m, Message{Reason: WrongConfig})
	}
	if a.gone.has(m.Inst) { // A8
		return a.nack(m, Message{Reason: Gone})
	}
	list := a.current(t.Mono, m.Lock)
	var own *record
	if i := slices.IndexFunc(list, func(r *record) bool { return r.inst == m.Inst }); i >= 0 {
		own = list[i]
	}
	if m.Flags&flagResume != 0 && (own == nil || own.token != m.Token || own.mode != m.Mode) { // A9
		return a.nack(m, Message{Reason: Gone})
	}
	for _, r := range list { // A1
		if r.inst != m.Inst && r.mode.conflicts(m.Mode) && !slices.Contains(m.Supersedes, r.inst) && !a.outranked(r, m) {
			return a.nack(m, Message{Reason: Held, Holder: r.inst, Mode: r.mode, Left: r.until - t.Mono})
		}
	}
	if a.cfg.Barred != nil && a.cfg.Barred(m.Lock, m.Token) {
		return a.nack(m, Message{Reason: Barred})
	}
	if own == nil && m.Flags&flagBearer != 0 && m.Mode == Exclusive && a.seen(m.Lock) > m.Token { // A10
		return a.nack(m, Message{Reason: Gone})
	}
	floor := a.floor(m.Lock)
	least := floor
	if own != nil {
		least = own.prev
	}
	if m.Token <= least && m.Flags&flagBearer == 0 { // A2; a bearer's lease keeps its token
		return a.nack(m, Message{Reason: TokenLow, Floor: floor})
	}
	if a.highest = max(a.highest, m.Token); m.Token > a.reserved {
		return Message{} // silent until the bound is on disk
	}
	if own == nil && (len(list) == 0 && len(a.live) >= a.cfg.MaxLocks || len(list) >= maxHolders) {
		return a.nack(m, Message{Reason: Full})
	}
	a.raise(m.Lock, m.Token)
	switch {
	case own == nil || after(m.Round, own.round): // A3, A5
		r := &record{inst: m.Inst, mode: m.Mode, round: m.Round, token: m.Token, prev: least,
			until: t.Mono + stretch(m.TTL, a.cfg.Drift), lock: m.Lock}
		if own != nil {
			r.until = max(r.until, own.until)
		}
		list = a.without(list, func(o *record) bool { return o.inst == m.Inst || o.mode.conflicts(m.Mode) })
		a.live[m.Lock] = append(list, r)
		a.bundle(r, m.Bundle)
	case m.Token > own.token: // the same round, proposed anew
		a.unbundle(own)
		own.token = m.Token
		a.bundle(own, m.Bundle)
	}
	return Message{Kind: Ack, Lock: m.Lock, Inst: m.Inst, Round: m.Round, Token: m.Token, Epoch: m.Epoch}
}

// outranked reports whether m may replace r by rank alone: only in best-effort
// mode, where two sides of a partition may have granted one lock, and the lease
// with the higher token survives the heal.
func (a *acceptor) outranked(r *record, m *Message) bool {
	return a.cfg.Voters.BestEffort && m.Flags&flagRenew != 0 && m.Token > r.token
}

func (a *acceptor) nack(m *Message, why Message) Message {
	a.stats.Refused++
	why.Kind, why.Lock, why.Inst, why.Round, why.Token, why.Epoch = Nack, m.Lock, m.Inst, m.Round, m.Token, a.epoch
	return why
}

// clear removes the record of exactly one instance (A4).
func (a *acceptor) clear(t Time, m *Message) Message {
	if a.quarantineUntil > t.Mono { // A0
		return Message{}
	}
	if m.Flags&flagBearer != 0 {
		a.gone.add(m.Inst)
	}
	list := a.current(t.Mono, m.Lock)
	list = a.without(list, func(r *record) bool { return r.inst == m.Inst })
	a.keep(m.Lock, list)
	return Message{Kind: Cleared, Inst: m.Inst}
}

// status answers an inspection. During the quarantine the reply holds nothing but the time
// that is left of it, so that it does not count towards a quorum (A0). Afterwards Left says for
// how long the voter is still fresh.
func (a *acceptor) status(t Time, m *Message) Message {
	reply := Message{Kind: StatusReply, Lock: m.Lock, Round: m.Round, Floor: a.highest}
	if left := a.quarantineUntil - t.Mono; left > 0 {
		reply.Reason, reply.Left = Quarantined, left
		return reply
	}
	reply.Left = a.fresh(t)
	for _, r := range a.current(t.Mono, m.Lock) {
		reply.Holders = append(reply.Holders, Holder{Inst: r.inst, Mode: r.mode, Token: r.token, Left: r.until - t.Mono})
	}
	return reply
}

// fresh returns for how long this voter may still lack leases that run: each is renewed, and
// so recorded here, within recall after the quarantine.
func (a *acceptor) fresh(t Time) time.Duration {
	if a.cfg.FirstBoot {
		return 0
	}
	return max(a.quarantineUntil+a.cfg.recall()-t.Mono, 0)
}

// current returns the records of a lock that have not expired, and drops the others (A7). The
// slice belongs to the acceptor.
func (a *acceptor) current(now time.Duration, lock string) []*record {
	list, ok := a.live[lock]
	if !ok {
		return nil
	}
	kept := a.without(list, func(r *record) bool { return r.until <= now })
	if len(kept) < len(list) {
		a.keep(lock, kept)
	}
	return kept
}

// without removes the records that which selects from a list, and from their bundles.
func (a *acceptor) without(list []*record, which func(*record) bool) []*record {
	return slices.DeleteFunc(list, func(r *record) bool {
		removed := which(r)
		if removed {
			a.unbundle(r)
		}
		return removed
	})
}

func (a *acceptor) keep(lock string, list []*record) {
	if len(list) == 0 {
		delete(a.live, lock)
		return
	}
	a.live[lock] = list
}

// sweep drops expired records of all locks, and ages the tombstones.
func (a *acceptor) sweep(now time.Duration) {
	a.gone.age(now, 2*stretch(a.cfg.MaxTTL, a.cfg.Drift))
	for lock := range a.live { // the order does not matter
		a.current(now, lock)
	}
}

// floor returns the token that a new instance of a lock must exceed (A2).
func (a *acceptor) floor(lock string) uint64 {
	f := &a.floors[shardOf(lock)]
	return max(f.of[lock], f.base)
}

// seen returns the highest token acknowledged for a lock since this process started, or a
// higher one if the floor was folded. A bearer's lease with a lower token that is not on
// record is over. Tokens of earlier processes do not count, since a voter that has
// restarted learns of a running lease by its renewals.
func (a *acceptor) seen(lock string) uint64 {
	f := &a.floors[shardOf(lock)]
	if token, ok := f.of[lock]; ok {
		return token
	}
	return f.folded
}

// raise notes that a token was acknowledged.
func (a *acceptor) raise(lock string, token uint64) {
	f := &a.floors[shardOf(lock)]
	f.of[lock] = max(a.seen(lock), token)
	if len(f.of) > f.most {
		a.fold(f)
	}
}

// raiseAll makes token a floor of every lock. It holds for instances on record as well: the
// token may belong to another instance of any lock.
func (a *acceptor) raiseAll(token uint64) {
	a.highest = max(a.highest, token)
	for i := range a.floors {
		a.floors[i].base = max(a.floors[i].base, token)
	}
	for _, list := range a.live { // the order does not matter
		for _, r := range list {
			r.prev = max(r.prev, token)
		}
	}
}

// fold replaces the floors of a shard's idle locks by one that is as high as the highest of
// them. Where a floor rises, the next round of that lock takes one more round trip, and a
// bearer's lease that was never on record here is no longer certified by this voter.
func (a *acceptor) fold(f *floors) {
	for lock, floor := range f.of { // a maximum does not depend on the order
		if _, live := a.live[lock]; !live {
			f.folded = max(f.folded, floor)
			delete(f.of, lock)
		}
	}
	f.base = max(f.base, f.folded)
	f.most = max(foldAt, 2*len(f.of))
}

// reserve returns the state that is to be made durable, nil if there is none. No token above the
// bound on disk is acknowledged, so that the next process, which remembers nothing else,
// refuses every token that this one acknowledged. The bound is 10 s ahead of the
// tokens and renewed once half of that is used, so that no round waits for the disk.
func (a *acceptor) reserve(t Time) *State {
	const ahead = 10_000_000 // tokens, which are microseconds
	want := max(t.Wall, a.highest)
	if !a.cfg.Durable || want+ahead/2 <= a.requested.TokenBound && a.epoch == a.requested.Epoch {
		return nil
	}
	a.requested = State{TokenBound: max(min(want+ahead, MaxToken), a.requested.TokenBound), Epoch: a.epoch}
	s := a.requested
	return &s
}
