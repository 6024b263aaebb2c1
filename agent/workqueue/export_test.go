package workqueue

// Hold locks the index of the queue until release is called, so that the loop, voters and callers wait.
func (q Queue) Hold() (release func()) {
	x := q.s.index(q.name)
	x.mu.Lock()
	return x.mu.Unlock
}

// Claims returns the claims of the queue that this peer has, and whether the stop of each one is set.
func (q Queue) Claims() (list []*Claim, complete bool) {
	x := q.s.index(q.name)
	x.mu.Lock()
	defer x.mu.Unlock()
	complete = true
	for _, c := range x.claims { // in any order
		complete = complete && c.stop != nil // if it is set later, the race detector reports this read too
		list = append(list, c)
	}
	return list, complete
}

// GiveBack gives the claim back as its agent does when it closes.
func (c *Claim) GiveBack() { c.q.s.giveBack(c) }
