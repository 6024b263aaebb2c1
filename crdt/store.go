package crdt

import (
	"slices"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Config configures a Store. The zero values of all but Actor are useful.
type Config struct {
	Actor      clock.Actor // whose dots Apply mints
	Rules      *Rules      // kinds by key; nil: none
	Conflicts  int         // journal entries kept, 1,024 by default
	MaxRemoves int         // removals kept until stable, 1 Mi by default, and a quarter of MaxBytes; beyond, the oldest go early
	MaxBytes   int         // of Memory that local writes may fill, 0 for no limit; see FullError
	Journal    bool        // keep what changed for Store.Journal to take
}

// Store is one replica's state: the live records and the causal context. It has
// one owner, who serialises every method but Load, Keys and Len; those may be
// called by any goroutine at any time.
type Store struct {
	rules *Rules
	index *xsync.Map[string, *cell]
	keys  atomic.Int64 // visible keys

	history
	checksums
	conflictLog
	changeLog
	saving

	count   int // live records, removals included
	bytes   int
	memory  int // see memory.go
	removes int // live removals
	removed int // the memory of those

	expiries   expiryHeap
	seen       map[*record][]past // concurrent losers pruned beside a live winner
	maxRemoves int
	maxBytes   int
	stats      Stats
	rival      Rival                    // the last
	gapped     map[clock.Actor]struct{} // actors whose missing dots the last Collect has met in the past of a record

	deltas  []Delta       // Apply's and JoinSection's result, reused
	voids   []clock.Range // JoinSection's, reused
	keyBuf  []byte
	scratch []byte
}

// many is the state of a key that is not one plain register.
type many struct {
	slots    map[string][]*record // by slotKey; live records, by dot
	clears   []*record            // live
	content  int                  // live records that readers may see
	elements int                  // live records of sets
	root     stock                // inside the key
	set      stock                // of the elements of the key itself
	below    map[string]stock     // inside other places
	kinds    uint                 // those that slots at places inside the key ever had, as bits
	foreign  bool                 // a later version's kinds of slots may be among them
	shard    uint8
	stale    *record // the view while nothing is rendered
}

// actorState is what the store knows of one actor. Records and readers that were told of
// it may go on to name it for ever.
type actorState struct {
	actor clock.Actor
	index uint32
	salt  uint64
	*work // nil for who is at rest, see Retire
}

// work is what an actor's records need.
type work struct {
	span    *clock.Span // the context's own, once a dot of the actor was seen
	known   bool        // the context has it
	live    []*record   // by sequence number, with nil holes, at most half
	holes   int
	pending []*record // to look at when stable, by sequence number
	stable  uint64    // collected up to here
	heard   bool      // is in Store.heard
}

// New returns an empty Store.
func New(cfg Config) *Store {
	if cfg.Conflicts <= 0 {
		cfg.Conflicts = 1024
	}
	if cfg.MaxRemoves <= 0 {
		cfg.MaxRemoves = 1 << 20
	}
	s := &Store{
		rules:      cfg.Rules,
		index:      xsync.NewMap[string, *cell](),
		seen:       make(map[*record][]past),
		gapped:     make(map[clock.Actor]struct{}),
		maxRemoves: cfg.MaxRemoves,
		maxBytes:   max(cfg.MaxBytes, 0),

		history:     history{context: clock.NewContext(), number: make(map[clock.Actor]uint32)},
		conflictLog: conflictLog{limit: uint64(cfg.Conflicts)},
		saving:      saving{journals: cfg.Journal},
	}
	s.SetActor(cfg.Actor)
	return s
}

// SetActor makes a the actor whose dots Apply mints.
func (s *Store) SetActor(a clock.Actor) { s.self = s.intern(a) }

// seenBy returns the span of st to add to, which is listed from then on. The context
// learns of an actor with its first dot and not before.
func (s *Store) seenBy(st *actorState) *clock.Span {
	if !st.known {
		if st.span.Head() > 0 {
			s.stats.Returned++
		}
		st.span, st.known = s.context.Ensure(st.actor), true
	}
	s.additions++
	if s.journals && !st.heard {
		st.heard = true
		s.heard = append(s.heard, st.actor)
	}
	return st.span
}

// insert makes r live.
func (s *Store) insert(r *record) {
	st := s.actors[r.actor]
	st.add(r)
	st.stable = min(st.stable, r.seq-1) // it may fill a hole that a crash had left
	s.dirtied(r)
	s.count++
	s.bytes += r.size()
	s.counted(r, 1)
	if r.sums() {
		s.summed(r, 1)
	}
	if m := r.cell.many(); m != nil {
		if r.shows() {
			m.content++
		}
		if r.kind == slotElement {
			m.elements++
		}
		m.place(r, true)
	}
	if r.counts() && r.ext == nil {
		return
	}
	if !r.counts() || r.expiry() != 0 || len(r.past()) > 0 {
		st.await(r)
	}
	if r.expiry() != 0 {
		s.expiries.push(r)
	}
	if !r.counts() {
		s.removes++
		s.removed += r.memory()
	}
}

// await has r looked at when it is stable. Lists that superseded records fill
// while some peer holds stability back are cleaned before they grow.
func (st *actorState) await(r *record) {
	if len(st.pending) == cap(st.pending) {
		st.pending = slices.DeleteFunc(st.pending, func(r *record) bool { return !r.live() })
		if len(st.pending) > cap(st.pending)/2 {
			st.pending = slices.Grow(st.pending, len(st.pending)+16)
		}
	}
	st.pending = insertSorted(st.pending, r)
}

// remove makes r dead. It leaves the cell to the caller.
func (s *Store) remove(r *record) {
	s.actors[r.actor].drop(r)
	s.dirtied(r)
	s.count--
	s.bytes -= r.size()
	s.counted(r, -1)
	if r.sums() {
		s.summed(r, -1)
	}
	if m := r.cell.many(); m != nil {
		if r.shows() {
			m.content--
		}
		if r.kind == slotElement {
			m.elements--
		}
		m.place(r, false)
	}
	if !r.counts() {
		s.removes--
		s.removed -= r.memory()
	}
	if len(s.seen) > 0 {
		delete(s.seen, r)
	}
}

// add puts r into the live list. Dots come nearly in order, so the place is found
// from the end.
func (st *actorState) add(r *record) {
	i := len(st.live)
	for i > 0 && (st.live[i-1] == nil || st.live[i-1].seq > r.seq) {
		i--
	}
	if i < len(st.live) && st.live[i] == nil {
		st.live[i] = r
		st.holes--
	} else {
		st.live = slices.Insert(st.live, i, r)
		for j := i + 1; j < len(st.live); j++ {
			if st.live[j] != nil {
				st.live[j].pos = int32(j)
			}
		}
	}
	r.pos = int32(i)
}

func (st *actorState) drop(r *record) {
	st.live[r.pos] = nil
	r.pos = dead
	st.holes++
	for n := len(st.live); n > 0 && st.live[n-1] == nil; n-- {
		st.live = st.live[:n-1]
		st.holes--
	}
	if st.holes <= 32 || st.holes*2 <= len(st.live) {
		return
	}
	n := 0
	for _, r := range st.live {
		if r != nil {
			r.pos = int32(n)
			st.live[n] = r
			n++
		}
	}
	clear(st.live[n:])
	st.live = st.live[:n]
	if cap(st.live) > 4*n+64 {
		st.live = slices.Clone(st.live)
	}
	st.holes = 0
}

// at returns the live record of that number, nil if there is none.
func (st *actorState) at(seq uint64) *record {
	i := st.from(seq)
	for i < len(st.live) && st.live[i] == nil {
		i++
	}
	if i == len(st.live) || st.live[i].seq != seq {
		return nil
	}
	return st.live[i]
}

// from returns the position of the first live record with at least seq.
func (st *actorState) from(seq uint64) int {
	lo, hi := 0, len(st.live)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		probe := mid
		for probe < hi && st.live[probe] == nil {
			probe++
		}
		if probe == hi || st.live[probe].seq >= seq {
			hi = mid
		} else {
			lo = probe + 1
		}
	}
	return lo
}

func insertSorted(list []*record, r *record) []*record {
	i := len(list)
	for i > 0 && list[i-1].seq > r.seq {
		i--
	}
	return slices.Insert(list, i, r)
}

// plainSlot is the slot of a key that is one register.
const plainSlot = "\x00\x01"

// slotKey is the identity of a slot within its key.
func slotKey(kind slotKind, path string) string {
	return string([]byte{byte(kind >> 8), byte(kind)}) + path
}

// many returns the slots of a key that is not one plain register, else nil.
func (c *cell) many() *many {
	v := c.view.Load()
	if v == nil || v.ext == nil {
		return nil
	}
	return v.ext.many
}

// promote gives a plain cell slots of its own.
func (s merger) promote(c *cell) *many {
	if m := c.many(); m != nil {
		return m
	}
	m := &many{slots: make(map[string][]*record), shard: shardOf(c.key())}
	m.stale = &record{cell: c, ext: &ext{many: m}, pos: dead}
	if r := c.view.Load(); r != nil {
		m.slots[plainSlot] = []*record{r}
		if r.shows() {
			m.content = 1
		}
	}
	c.view.Store(m.stale)
	s.memory += manyMemory
	return m
}

// settle follows a change of the cell's slots: it drops what is empty, turns a
// key of one plain register back into a plain cell, and counts visible keys.
func (s merger) settle(c *cell, visible bool) {
	m := c.many()
	switch {
	case m == nil:
		if c.view.Load() == nil {
			s.index.Delete(c.key())
		}
	case len(m.slots) == 0 && len(m.clears) == 0:
		s.index.Delete(c.key())
		c.view.Store(nil)
		s.memory -= manyMemory
	case len(m.slots) == 1 && len(m.clears) == 0 && len(m.slots[plainSlot]) == 1:
		r := m.slots[plainSlot][0]
		c.view.Store(r)
		s.memory -= manyMemory
	default:
		c.view.Store(m.stale)
	}
	switch now := c.visible(); {
	case now && !visible:
		s.keys.Add(1)
	case !now && visible:
		s.keys.Add(-1)
	}
}

// visible reports whether the key has content; what expired is content until
// Expire has told so.
func (c *cell) visible() bool {
	if m := c.many(); m != nil {
		return m.content > 0
	}
	r := c.view.Load()
	return r != nil && r.shows()
}
