package crdt

import "github.com/sentinel-peer/sentinel-peer/clock"

// Change is one event at one key: a local write, a merge or an expiry caused it.
type Change struct {
	Key   string
	Kind  Kind
	Cause Cause
	Order clock.Order // order of the write relative to the record that it met: After or Concurrent
	Local bool        // whether this replica's Apply made the write
	Dot   clock.Dot
	Stamp clock.Timestamp
	// Old and New are the values of a plain register before and after the change; each is
	// absent if the key held nothing. With Lazy set the key has slots, and
	// [Notifications] renders its values, unless [Store.Describe] has described the change.
	Old, New Value
	Lazy     bool
	large    *largeChange // of a large set or object, nil for another key
}

// Changes returns the changes since its last call, in the order in which they happened.
// The slice belongs to the caller, who may hand it back with Recycle.
func (l *changeLog) Changes() []Change {
	c := l.changes
	l.changes = nil
	return c
}

// Recycle takes back a slice that Changes returned, so that the store reuses its memory.
// A slice with a capacity above 16,384 is left to the garbage collector.
func (l *changeLog) Recycle(c []Change) {
	clear(c)
	if l.changes == nil && cap(c) <= 1<<14 {
		l.changes = c[:0]
	}
}

// noteChange adds a change that r caused to the log. The caller fills in Old, New and Lazy.
func (s *Store) noteChange(r *record, cause Cause, ord clock.Order, local bool) *Change {
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

// shownValue returns the value that readers see of r. It is absent if r is nil or a removal.
func shownValue(r *record) Value {
	if r == nil || !r.isContent() || r.expiryReported() {
		return Value{}
	}
	return Value{r.val()}
}

// changeLog holds the changes since the last call of Changes.
type changeLog struct{ changes []Change }
