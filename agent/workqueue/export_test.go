package workqueue

// Hold keeps the loop, voters and callers from the queue until release is called.
func (q Queue) Hold() (release func()) {
	x := q.s.index(q.name)
	x.mu.Lock()
	return x.mu.Unlock
}

// Claims returns the claims of the queue that were made here, and whether all of them are
// complete.
func (q Queue) Claims() (list []*Claim, complete bool) {
	x := q.s.index(q.name)
	x.mu.Lock()
	defer x.mu.Unlock()
	complete = true
	for _, c := range x.claims { // each for itself: no order
		complete = complete && c.stop != nil // or the race detector sees that it is set meanwhile
		list = append(list, c)
	}
	return list, complete
}

// GiveBack gives a claim back as if its agent closed.
func (c *Claim) GiveBack() { c.q.s.giveBack(c) }
