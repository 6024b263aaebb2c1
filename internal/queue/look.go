package queue

import (
	"slices"
	"time"
)

// Depth counts the items of a queue by state, as far as this peer has heard.
type Depth struct {
	Pending, Delayed, Claimed, Done, Dead int
	Setting
}

// Depth returns how many items are in each state.
func (x *Index) Depth(now time.Time) Depth {
	x.promote(now)
	return Depth{x.count[Pending], x.count[Delayed], x.count[Claimed], x.count[Done], x.count[Dead], x.setting}
}

// View is what a peer knows of one item.
type View struct {
	ID       string
	State    State
	Priority int
	Attempt  int // how often it was tried
	Enqueued time.Time
	Error    string // of the last attempt
	Token    uint64 // of the claim that says so
}

func (e *entry) view() View {
	return View{e.id, e.state, e.head.Priority, e.attempts, e.stamp.Time(), e.claim.Error, e.token}
}

// Look returns what is known of an item, false if there is none of that id.
func (x *Index) Look(now time.Time, id string) (View, bool) {
	x.promote(now)
	e := x.entries[id]
	if e == nil {
		return View{}, false
	}
	return e.view(), e.state != ""
}

// Peek returns the first n items that may be claimed, in order.
func (x *Index) Peek(now time.Time, n int) (list []View) {
	x.promote(now)
	x.undivide()
	var open []int
	if len(x.ready.list) > 0 {
		open = append(open, 0)
	}
	for len(open) > 0 && len(list) < n { // best first, down the heap
		best := 0
		for i := range open {
			if x.ready.Less(open[i], open[best]) {
				best = i
			}
		}
		at := open[best]
		open = slices.Delete(open, best, best+1)
		list = append(list, x.ready.list[at].view())
		for child := 2*at + 1; child <= 2*at+2 && child < len(x.ready.list); child++ {
			open = append(open, child)
		}
	}
	return list
}
