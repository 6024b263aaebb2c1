package crdt

// Notifications converts changes, as [Store.Changes] returned them, to the list that
// subscribers get, in which every change has its Old and New.
//
// A key with slots is rendered once. It gets at most one change for its writes, and after it
// one for its expiries. Conflicts at such keys come at the end of the list, with equal Old
// and New, so a subscriber that ignores conflicts still gets every change of a value.
//
// render returns the current value and kind of a key, and false if the key is absent. It is not
// called for a change that [Store.Describe] has described: such a change has neither Old nor New.
func Notifications(changes []Change, render func(key string) (Value, Kind, bool)) []Change {
	keys := make(map[string]*lazyKey)
	for i := range changes {
		if c := &changes[i]; c.Lazy {
			lazyKeyOf(keys, c).noteChange(i, c)
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
			list = keys[c.Key].appendTo(list, changes, render)
		}
	}
	for _, c := range conflicts {
		p := keys[c.Key]
		p.look(&c, render)
		c.Old, c.New = p.now, p.now
		if p.there {
			c.Kind = p.kind
		}
		list = append(list, c)
	}
	return list
}

// lazyKey collects the changes of one key with slots.
type lazyKey struct {
	last, write, expiry int   // indices of the latest change of any cause, write and expiry; -1 for none
	old, now            Value // value before the changes, and the rendered one
	kind                Kind  // rendered kind
	there, rendered     bool  // whether the key has content, and whether render was called
}

// lazyKeyOf returns the entry of all for the key of c. It makes the entry if c is the first
// change of its key.
func lazyKeyOf(all map[string]*lazyKey, c *Change) *lazyKey {
	p := all[c.Key]
	if p == nil {
		p = &lazyKey{last: -1, write: -1, expiry: -1, old: c.Old}
		all[c.Key] = p
	}
	return p
}

// noteChange notes the i-th change, c. A conflict does not change the value and is left out.
func (p *lazyKey) noteChange(i int, c *Change) {
	if c.Cause == CauseConflict {
		return
	}
	if p.last = i; c.Cause == CauseExpired {
		p.expiry = i
	} else {
		p.write = i
	}
}

// look finds out what the key of c is now: from its description, or by one call of render.
func (p *lazyKey) look(c *Change, render func(string) (Value, Kind, bool)) {
	switch {
	case p.rendered:
	case c.large != nil && c.large.described:
		p.kind, p.there, p.old = c.Kind, c.large.there, Value{}
	default:
		p.now, p.kind, p.there = render(c.Key)
	}
	p.rendered = true
}

// appendTo appends the key's changes to list: a delete or an expiry if the key is absent
// now, else its write and its expiry as far as there were such changes.
func (p *lazyKey) appendTo(list, changes []Change, render func(string) (Value, Kind, bool)) []Change {
	c := changes[p.last]
	p.look(&c, render)
	if !p.there { // the latest change removed the rest of the content
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
