package queue

import (
	"cmp"
	"slices"
	"time"
)

// Counts returns how many items are in each state, as far as this peer knows. The caller
// must not change the map, which is valid until the next call.
func (x *Index) Counts(now time.Time) map[State]int {
	x.Tick(now)
	return x.count
}

// View is a peer's knowledge of one item.
type View struct {
	ID       string
	State    State
	Priority int
	Attempt  int // number of attempts so far
	Enqueued time.Time
	Error    string // error of the last attempt
	Worker   string // name of the peer that claimed it last
	Token    uint64 // fencing token of that claim
}

func (e *entry) view() View {
	return View{e.id, e.state, e.head.Priority, e.attempts, e.stamp.Time(), e.claim.Error, e.claim.Worker, e.token}
}

// Look returns what is known of an item; false if there is no item with that id.
func (x *Index) Look(now time.Time, id string) (View, bool) {
	x.Tick(now)
	e := x.entries[id]
	if e == nil {
		return View{}, false
	}
	return e.view(), e.state != ""
}

// Peek returns the first n items that may be claimed, in order.
func (x *Index) Peek(now time.Time, n int) []View {
	x.Tick(now)
	return views(x.ready.best(n))
}

// Survey returns up to n claimed and up to n dead items, each list in the order of enqueueing, and
// when the oldest pending or delayed item was enqueued, the zero time if there is none. It
// walks all items.
func (x *Index) Survey(now time.Time, n int) (claimed, dead []View, oldest time.Time) {
	x.Tick(now)
	var held, lost []*entry
	for _, e := range x.entries { // neither keep nor a minimum depends on the order
		switch at := e.stamp.Time(); e.state {
		case Claimed:
			held = keep(held, e, n)
		case Dead:
			lost = keep(lost, e, n)
		case Pending, Delayed:
			if oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	return views(held), views(lost), oldest
}

// keep inserts e into a sorted list of the n oldest entries, if it is one of them.
func keep(list []*entry, e *entry, n int) []*entry {
	at, _ := slices.BinarySearchFunc(list, e, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.id, b.id)) })
	if at >= n {
		return list
	}
	list = slices.Insert(list, at, e)
	return list[:min(len(list), n)]
}

func views(list []*entry) []View {
	shown := make([]View, len(list))
	for i, e := range list {
		shown[i] = e.view()
	}
	return shown
}
