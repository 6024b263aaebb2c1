package crdt

// Tell turns changes, as [Store.Changes] returned them, into what subscribers hear, with
// Old and New of every one. A key of many parts is rendered once, and has one change for
// each cause: what was written, then what expired with it. A conflict is told beside that
// and behind it, for its value is as before: who follows writes and expiries alone
// misses nothing.
//
// render returns what a key holds now, false for nothing.
func Tell(changes []Change, render func(key string) (Value, Kind, bool)) []Change {
	keys := make(map[string]*parted)
	for i := range changes {
		if c := &changes[i]; c.Lazy {
			partedOf(keys, c).note(i, c)
		}
	}
	list := make([]Change, 0, len(changes))
	var conflicts []Change
	for i, c := range changes {
		switch {
		case !c.Lazy:
			list = append(list, c)
		case c.Cause == CauseConflict:
			conflicts = append(conflicts, c)
		case i == keys[c.Key].last:
			list = keys[c.Key].tell(list, changes, render)
		}
	}
	for _, c := range conflicts {
		p := keys[c.Key]
		p.look(c.Key, render)
		c.Old, c.New = p.now, p.now
		if p.there {
			c.Kind = p.kind
		}
		list = append(list, c)
	}
	return list
}

// parted is a key of many parts while its changes are told.
type parted struct {
	last, write, expiry int // the last changes of it, of all causes and of each; -1 for none
	old, now            Value
	kind                Kind
	there, looked       bool
}

// partedOf returns what is known of the key of c, which may be the first change of it.
func partedOf(all map[string]*parted, c *Change) *parted {
	p := all[c.Key]
	if p == nil {
		p = &parted{last: -1, write: -1, expiry: -1, old: c.Old}
		all[c.Key] = p
	}
	return p
}

func (p *parted) note(i int, c *Change) {
	if c.Cause == CauseConflict {
		return
	}
	if p.last = i; c.Cause == CauseExpired {
		p.expiry = i
	} else {
		p.write = i
	}
}

func (p *parted) look(key string, render func(string) (Value, Kind, bool)) {
	if !p.looked {
		p.now, p.kind, p.there = render(key)
		p.looked = true
	}
}

func (p *parted) tell(list, changes []Change, render func(string) (Value, Kind, bool)) []Change {
	c := changes[p.last]
	p.look(c.Key, render)
	if !p.there { // what came last ended it
		if c.Old = p.old; c.Cause == CausePut {
			c.Cause = CauseDelete
		}
		return append(list, c)
	}
	old := p.old
	if p.write >= 0 {
		c = changes[p.write]
		c.Cause, c.Kind, c.Old, c.New = CausePut, p.kind, old, p.now
		list, old = append(list, c), p.now
	}
	if p.expiry >= 0 {
		c = changes[p.expiry]
		c.Kind, c.Old, c.New = p.kind, old, p.now
		list = append(list, c)
	}
	return list
}
