package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Change is one thing that happened to one key, by a local write or a merge.
type Change struct {
	Key   string
	Kind  Kind
	Cause Cause
	Order clock.Order // of the write to what it met: After, or Concurrent
	Local bool
	Dot   clock.Dot
	Stamp clock.Timestamp
	// Old and New are the values of a plain register before and after; absent if
	// there was or is none. With Lazy set the key is of another kind: see [Tell].
	Old, New Value
	Lazy     bool
}

// Changes returns what happened since the last call. The slice belongs to the
// caller, who may hand it back with Recycle.
func (l *changeLog) Changes() []Change {
	c := l.changes
	l.changes = nil
	return c
}

// Recycle gives a slice from Changes back for reuse.
func (l *changeLog) Recycle(c []Change) {
	clear(c)
	if l.changes == nil && cap(c) <= 1<<14 {
		l.changes = c[:0]
	}
}

func (s *Store) changed(r *record, cause Cause, ord clock.Order, local bool) *Change {
	s.changes = append(s.changes, Change{
		Key:   r.cell.key(),
		Kind:  kindOf(r.kind, r.path()),
		Cause: cause,
		Order: ord,
		Local: local,
		Dot:   clock.Dot{Actor: s.actors[r.actor].actor, Seq: r.seq},
		Stamp: r.stamp,
	})
	return &s.changes[len(s.changes)-1]
}

// content returns the value readers see of r, absent for nil and removals.
func content(r *record) Value {
	if r == nil || !r.shows() {
		return Value{}
	}
	return Value{r.val()}
}

// changeLog is what changed since somebody took it.
type changeLog struct{ changes []Change }
