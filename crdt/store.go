package crdt

import (
	"slices"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Config configures a Store. Every field but Actor may have its zero value.
type Config struct {
	Actor       clock.Actor // actor whose dots Apply assigns
	Rules       *Rules      // kinds of keys; nil for no rules
	Conflicts   int         // entries that the conflict journal keeps; 0 means 1,024
	MaxRemovals int         // removals that the store keeps until they are stable, 0 means 1,048,576; see truncate
	MaxBytes    int         // bytes of Memory that local writes may fill, 0 for no limit; see FullError
	Journal     bool        // whether the store notes its changes for Store.AppendJournal
}

// Store is the state of one replica: the live records and the causal context. A Store has
// one owner, who must not call two methods at the same time. The exceptions are Load, Ascend
// and Len, which any goroutine may call at any time.
type Store struct {
	rules       *Rules
	index       keyIndex
	visibleKeys atomic.Int64 // keys that hold content

	history
	checksums
	conflictLog
	changeLog
	saving
	outlines

	liveCount    int // live records, which include removals
	wireBytes    int // sum of record.size over the live records
	memory       int // see memory.go
	removals     int // live removals and clears
	removalBytes int // memory of those

	expiries    expiryHeap
	spent       []*record               // ended records that Expire has reported, and deadlines that may govern nothing any more
	pruned      map[*record][]pastEntry // for a live last-write-wins record, the dots of its concurrent losers
	maxRemovals int
	maxBytes    int
	stats       Stats
	lastRival   Rival
	missing     map[clock.Actor]struct{} // actors with dots that kept the last Collect from forgetting a record

	deltas  []Delta       // result of Apply and JoinSection, reused
	voids   []clock.Range // voids of the section that JoinSection reads, reused
	keyBuf  []byte        // key of the record that JoinSection reads, reused
	scratch []byte        // value that the writer encodes, reused
}

// many is the state of a key with slots, which is every key but a plain one. A plain key
// has one register and nothing else.
type many struct {
	slots          map[string][]*record // live records by slotKey
	clears         []*record            // live clears
	visibleRecords int                  // live records that readers may see
	deadline       deadline
	hashes         uint64           // sum of the hashes of the dots of live content that Expire has not reported
	elements       int              // elements of the key's own set that readers may see
	root           stock            // stock below the root of the key
	set            stock            // stock below the place of the key's own set elements
	stocks         map[string]stock // stock below each other place; see stockBelow
	innerKinds     uint             // bit set of the slot kinds that paths inside the key have ever had
	unknownKinds   bool             // whether there may be records of slot kinds from a later version
	shard          uint8            // shard of the key's checksums
	staleView      *record          // the cell's view while nothing is rendered
	outline        *outline         // order of the slots, for pages; nil unless somebody reads pages
}

// actorState is the store's knowledge of one actor. Old records, and readers that have
// loaded them, may refer to an actorState for ever.
type actorState struct {
	actor        clock.Actor
	index        uint32 // number of the actor in history.actors
	salt         uint64 // hash of the actor, for the hashes of its dots
	*activeState        // nil after Retire has removed the actor from the tables
}

// activeState is the part of an actorState that an actor in the tables needs.
type activeState struct {
	span         *clock.Span // dots that were seen of the actor; the context's own span if listed
	listed       bool        // whether the context lists the actor
	live         []*record   // live records by sequence number; at most about half of the entries are nil
	vacant       int         // number of entries of live that are nil
	pending      []*record   // records that Collect looks at when they are stable, by sequence number
	collected    uint64      // sequence number up to which Collect has looked at the actor's records
	contextDirty bool        // whether the actor is in saving.seenDots
}

// New returns an empty Store.
func New(cfg Config) *Store {
	if cfg.Conflicts <= 0 {
		cfg.Conflicts = 1024
	}
	if cfg.MaxRemovals <= 0 {
		cfg.MaxRemovals = 1 << 20
	}
	s := &Store{
		rules:       cfg.Rules,
		index:       newKeyIndex(),
		pruned:      make(map[*record][]pastEntry),
		missing:     make(map[clock.Actor]struct{}),
		maxRemovals: cfg.MaxRemovals,
		maxBytes:    max(cfg.MaxBytes, 0),

		history:     history{context: clock.NewContext(), number: make(map[clock.Actor]uint32)},
		conflictLog: conflictLog{limit: uint64(cfg.Conflicts)},
		saving:      saving{journals: cfg.Journal},
	}
	s.SetActor(cfg.Actor)
	return s
}

// SetActor makes a the actor whose dots Apply assigns.
func (s *Store) SetActor(a clock.Actor) { s.self = s.intern(a) }

// spanOf returns the span of st for the caller to add dots to. From then on the context
// lists the actor; it does not list an actor before its first dot.
func (s *Store) spanOf(st *actorState) *clock.Span {
	if !st.listed {
		if st.span.Head() > 0 {
			s.stats.Returned++
		}
		st.span, st.listed = s.context.Ensure(st.actor), true
	}
	s.additions++
	return st.span
}

// insert makes r live and updates all counts. The caller puts r into its cell.
func (s *Store) insert(r *record) {
	st := s.actors[r.actor]
	st.addLive(r)
	st.collected = min(st.collected, r.seq-1) // r may fill a gap that a crash left
	s.liveCount++
	s.wireBytes += r.size()
	s.addMemory(r, 1)
	if s.checksummed(r) {
		s.addShare(r, 1)
	}
	if m := r.cell.many(); m != nil {
		if s.visible(m, r) {
			m.visibleRecords++
		}
		if r.isContent() && !s.reported(m, r) {
			m.hashes += st.hash(r.seq)
		}
		m.account(r, true)
		if r.isContent() && s.governs(m, r) {
			m.deadline.content++
			merger{s}.queueDeadline(m)
		}
	}
	if r.isContent() && r.ext == nil {
		return
	}
	if !r.isContent() || r.expiry() != 0 || len(r.past()) > 0 {
		st.await(r)
	}
	if r.expiry() != 0 {
		s.expiries.push(r)
	}
	if r.isRemoval() {
		s.removals++
		s.removalBytes += r.memory()
	}
}

// await adds r to the records that Collect looks at when they are stable. Superseded records
// fill the list while a peer does not acknowledge writes, so await removes them before the
// list grows.
func (st *actorState) await(r *record) {
	if len(st.pending) == cap(st.pending) {
		st.pending = slices.DeleteFunc(st.pending, func(r *record) bool { return !r.live() })
		if len(st.pending) > cap(st.pending)/2 {
			st.pending = slices.Grow(st.pending, len(st.pending)+16)
		}
	}
	st.pending = insertSorted(st.pending, r)
}

// remove makes r dead and updates all counts. The caller takes r out of its cell.
func (s *Store) remove(r *record) {
	s.actors[r.actor].dropLive(r)
	s.liveCount--
	s.wireBytes -= r.size()
	s.addMemory(r, -1)
	if s.checksummed(r) {
		s.addShare(r, -1)
	}
	if m := r.cell.many(); m != nil {
		if s.visible(m, r) {
			m.visibleRecords--
		}
		if r.isContent() && !s.reported(m, r) {
			m.hashes -= s.actors[r.actor].hash(r.seq)
		}
		m.account(r, false)
		if r.isContent() && s.governs(m, r) {
			m.deadline.content--
			merger{s}.queueDeadline(m)
		}
	}
	if r.isRemoval() {
		s.removals--
		s.removalBytes -= r.memory()
	}
	if len(s.pruned) > 0 {
		delete(s.pruned, r)
	}
}

// addLive puts r into the live list. Dots arrive nearly in order, so addLive searches from
// the end.
func (st *actorState) addLive(r *record) {
	i := len(st.live)
	for i > 0 && (st.live[i-1] == nil || st.live[i-1].seq > r.seq) {
		i--
	}
	if i < len(st.live) && st.live[i] == nil {
		st.live[i] = r
		st.vacant--
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

// dropLive takes r out of the live list. If more than half of the entries are nil it moves
// the others together.
func (st *actorState) dropLive(r *record) {
	st.live[r.pos] = nil
	r.pos = dead
	st.vacant++
	for n := len(st.live); n > 0 && st.live[n-1] == nil; n-- {
		st.live = st.live[:n-1]
		st.vacant--
	}
	if st.vacant <= 32 || st.vacant*2 <= len(st.live) {
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
	st.vacant = 0
}

// liveRecord returns the live record with the number seq, nil if there is none.
func (st *actorState) liveRecord(seq uint64) *record {
	i := st.liveFrom(seq)
	for i < len(st.live) && st.live[i] == nil {
		i++
	}
	if i == len(st.live) || st.live[i].seq != seq {
		return nil
	}
	return st.live[i]
}

// liveFrom returns an index in the live list from which on all live records with a number
// of at least seq are. Entries before it are nil or have lower numbers.
func (st *actorState) liveFrom(seq uint64) int {
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

// insertSorted inserts r into list, which is sorted by sequence number.
func insertSorted(list []*record, r *record) []*record {
	i := len(list)
	for i > 0 && list[i-1].seq > r.seq {
		i--
	}
	return slices.Insert(list, i, r)
}

// plainSlot is the slotKey of the register at the root of a key.
const plainSlot = "\x00\x01"

// elementSlot is the slot kind in the slotKey of an element.
const elementSlot = "\x00\x02"

// slotKey returns the identity of a slot within its key: 2 bytes of slot kind, and the path.
func slotKey(kind slotKind, path string) string {
	return string([]byte{byte(kind >> 8), byte(kind)}) + path
}

// many returns the slots of the key, nil if the key is plain.
func (c *cell) many() *many {
	v := c.view.Load()
	if v == nil || v.ext == nil {
		return nil
	}
	return v.ext.many
}

// promote turns a plain cell into one with slots, and returns the slots.
func (s merger) promote(c *cell) *many {
	if m := c.many(); m != nil {
		return m
	}
	m := &many{slots: make(map[string][]*record), shard: shardOf(c.key())}
	m.staleView = &record{cell: c, ext: &ext{many: m}, pos: dead}
	if r := c.view.Load(); r != nil {
		m.slots[plainSlot] = []*record{r}
		if s.visible(m, r) {
			m.visibleRecords, m.hashes = 1, s.actors[r.actor].hash(r.seq)
		}
	}
	c.view.Store(m.staleView)
	s.memory += manyMemory
	return m
}

// updateView follows a change of the cell's slots. It deletes a key without records from the
// index, turns a key with one register alone back into a plain one, makes other views stale,
// and counts visible keys. visible says whether the key had content before the change.
func (s merger) updateView(c *cell, visible bool) {
	m := c.many()
	switch {
	case m == nil:
		if c.view.Load() == nil {
			s.index.remove(c)
		}
	case len(m.slots) == 0 && len(m.clears) == 0:
		s.index.remove(c)
		c.view.Store(nil)
		s.memory -= manyMemory
	case len(m.slots) == 1 && len(m.clears) == 0 && len(m.slots[plainSlot]) == 1:
		r := m.slots[plainSlot][0]
		c.view.Store(r)
		s.memory -= manyMemory
	default:
		c.view.Store(m.staleView)
	}
	switch now := c.visible(); {
	case now && !visible:
		s.visibleKeys.Add(1)
	case !now && visible:
		s.visibleKeys.Add(-1)
	}
}

// visible reports whether the key has content that readers may see. An expired record
// counts as content until Expire has reported it.
func (c *cell) visible() bool {
	if m := c.many(); m != nil {
		return m.visibleRecords > 0
	}
	r := c.view.Load()
	return r != nil && r.isContent() && !r.expiryReported()
}
