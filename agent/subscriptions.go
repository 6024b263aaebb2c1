package agent

import "strings"

// subscriptions is the set of open subscriptions. It is a trie of the segments of their globs, so that
// the subscriptions for a key are found without matching all of them.
type subscriptions struct {
	count int
	root  branch
}

// branch is a node of the trie. A path of steps leads to it from the root.
type branch struct {
	plain map[string]*branch         // children by a literal segment
	wild  map[string]*branch         // children by the literal text with which a segment with wildcards begins
	here  map[*Subscription]struct{} // subscriptions whose glob has no more segments
	below map[*Subscription]struct{} // subscriptions whose glob continues with any number of segments
}

// step is one segment of a glob. If wild, text is only the literal beginning of the segment.
type step struct {
	text string
	wild bool
}

// steps returns the segments of glob up to the first that can match several segments, and whether
// there is such a segment. A segment with braces counts as one, since braces may contain slashes.
func steps(glob string) (list []step, open bool) {
	for {
		segment, rest, more := strings.Cut(glob, "/")
		if segment == "**" || strings.Contains(segment, "{") {
			return list, true
		}
		next := step{text: segment}
		if i := strings.IndexAny(segment, `*?[\`); i >= 0 {
			next = step{segment[:i], true}
		}
		if list = append(list, next); !more {
			return list, false
		}
		glob = rest
	}
}

// next returns the child at s, nil if there is none.
func (b *branch) next(s step) *branch {
	if s.wild {
		return b.wild[s.text]
	}
	return b.plain[s.text]
}

// grow returns the child at s, which it makes if there is none.
func (b *branch) grow(s step) *branch {
	at := &b.plain
	if s.wild {
		at = &b.wild
	}
	if *at == nil {
		*at = make(map[string]*branch)
	}
	if (*at)[s.text] == nil {
		(*at)[s.text] = &branch{}
	}
	return (*at)[s.text]
}

// at returns the set of subscriptions that s belongs to. It makes the branches on the way.
func (t *subscriptions) at(s *Subscription) *map[*Subscription]struct{} {
	list, open := steps(s.pattern.String())
	b := &t.root
	for _, next := range list {
		b = b.grow(next)
	}
	if open {
		return &b.below
	}
	return &b.here
}

func (t *subscriptions) add(s *Subscription) {
	at := t.at(s)
	if *at == nil {
		*at = make(map[*Subscription]struct{})
	}
	(*at)[s] = struct{}{}
	t.count++
}

func (t *subscriptions) remove(s *Subscription) {
	at := t.at(s)
	if _, ok := (*at)[s]; ok {
		delete(*at, s)
		t.count--
	}
	list, _ := steps(s.pattern.String())
	t.root.prune(list)
}

// prune removes the branches along list that have no subscriptions and no children, and reports
// whether b is such a branch.
func (b *branch) prune(list []step) bool {
	if len(list) > 0 {
		if next := b.next(list[0]); next != nil && next.prune(list[1:]) {
			if list[0].wild {
				delete(b.wild, list[0].text)
			} else {
				delete(b.plain, list[0].text)
			}
		}
	}
	return len(b.plain)+len(b.wild)+len(b.here)+len(b.below) == 0
}

// of calls f once for each subscription whose pattern matches key.
func (t *subscriptions) of(key string, f func(*Subscription)) { t.root.of(key, key, f) }

// of calls f for the subscriptions in b and below whose pattern matches key. rest is the part of key
// after the segments that led to b.
func (b *branch) of(rest, key string, f func(*Subscription)) {
	match := func(subs map[*Subscription]struct{}) {
		for s := range subs {
			if s.pattern.Match(key) {
				f(s)
			}
		}
	}
	match(b.below)
	if rest == "" {
		match(b.here)
		return
	}
	segment, rest, _ := strings.Cut(rest, "/")
	if next := b.plain[segment]; next != nil {
		next.of(rest, key, f)
	}
	if len(b.wild) == 0 {
		return
	}
	for n := range len(segment) + 1 {
		if next := b.wild[segment[:n]]; next != nil {
			next.of(rest, key, f)
		}
	}
}

// each calls f for all subscriptions.
func (t *subscriptions) each(f func(*Subscription)) { t.root.each(f) }

func (b *branch) each(f func(*Subscription)) {
	for _, subs := range []map[*Subscription]struct{}{b.here, b.below} {
		for s := range subs {
			f(s)
		}
	}
	for _, branches := range []map[string]*branch{b.plain, b.wild} {
		for _, next := range branches {
			next.each(f)
		}
	}
}
