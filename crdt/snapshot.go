package crdt

// Snapshot is the records of a large key at one moment. The value is made from it without the lock of
// the store's owner: [Probe.Snapshot] takes the snapshot under the lock, Render makes the value
// without it, and Publish makes the value known to Load under the lock again.
type Snapshot struct {
	s        *Store
	cell     *cell
	many     *many
	view     *record // view of the cell when the snapshot was taken
	hashes   uint64  // many.hashes at that time
	deadline deadline
	now      uint64 // Unix milliseconds
	actors   []*actorState
	keys     []string  // keys of the slots
	ends     []int     // where the records of each slot end in records
	records  []*record // records of all slots
	rendered *record
}

// Stale reports whether the key takes more than WholeBytes and must be rendered for a reader.
func (p Probe) Stale() bool {
	if !p.many.large() {
		return false
	}
	v := p.cell.view.Load()
	return v.stale() || v.expiry() != 0 && v.expiry() <= p.now
}

// Snapshot returns a snapshot of the key, nil unless the key is Stale. It copies a pointer for each
// record.
func (p Probe) Snapshot() *Snapshot {
	if !p.Stale() {
		return nil
	}
	return p.snapshot()
}

// snapshot returns a snapshot of all slots of the key.
func (p Probe) snapshot() *Snapshot {
	if p.many == nil {
		return p.blank(0)
	}
	x := p.blank(len(p.many.slots))
	for key, slot := range p.many.slots {
		x.add(key, slot)
	}
	return x
}

// blank returns a snapshot without slots, with room for n.
func (p Probe) blank(n int) *Snapshot {
	x := &Snapshot{s: p.s, cell: p.cell, many: p.many, now: p.now, actors: *p.s.published.Load(),
		keys: make([]string, 0, n), ends: make([]int, 0, n), records: make([]*record, 0, n)}
	if p.many != nil {
		x.view, x.hashes, x.deadline = p.cell.view.Load(), p.many.hashes, p.many.deadline
	}
	return x
}

func (x *Snapshot) add(key string, slot []*record) {
	x.keys, x.records = append(x.keys, key), append(x.records, slot...)
	x.ends = append(x.ends, len(x.records))
}

// Render returns the content of the key when the snapshot was taken. It returns false if the key held
// nothing. Any goroutine may call it, once.
func (x *Snapshot) Render() (Entry, bool) {
	content, from := &many{slots: make(map[string][]*record, len(x.keys)), deadline: x.deadline}, 0
	for i, to := range x.ends {
		content.slots[x.keys[i]] = x.records[from:to:to]
		from = to
	}
	beside := &Store{} // a renderer uses only the names of actors
	beside.actors = x.actors
	x.rendered = renderer{beside}.renderSlots(x.cell, x.many, content, x.now)
	if x.rendered.tomb {
		return Entry{}, false
	}
	return Entry{x.rendered, x.s}, true
}

// Publish makes the rendered content known to Load if the key has not changed since the snapshot. Only
// the store's owner calls it, after Render.
func (x *Snapshot) Publish() {
	if x.cell.view.Load() == x.view && x.many.hashes == x.hashes && x.many.deadline.same(x.deadline) {
		x.cell.view.Store(x.rendered)
	}
}
