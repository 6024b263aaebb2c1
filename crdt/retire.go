package crdt

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Retire takes the actors that rest out of the list of the context, which has seen the
// same after it, and out of the tables if nothing stored refers to them any more. One
// that writes again is listed again. It returns how many were listed.
func (s *Store) Retire(rests func(clock.Actor) bool) int {
	retired := s.context.Retire(rests)
	for _, a := range retired {
		if i, ok := s.number[a]; ok {
			st := s.actors[i]
			st.span, st.known = st.span.Clone(), false
		}
	}
	var idle []*actorState
	for _, st := range s.active {
		if st != s.self && !st.known && !st.heard && len(st.live) == 0 && !slices.ContainsFunc(st.pending, (*record).live) {
			idle = append(idle, st)
		}
	}
	if len(idle) == 0 {
		return len(retired)
	}
	named := s.named()
	for _, st := range idle {
		if !named[st.index] {
			delete(s.number, st.actor)
			st.work = nil
		}
	}
	s.active = slices.DeleteFunc(s.active, func(st *actorState) bool { return st.work == nil })
	return len(retired)
}

// named returns whom the pasts of live records name, and what is remembered beside them.
// All such records wait to be stable.
func (s *Store) named() map[uint32]bool {
	named := make(map[uint32]bool)
	note := func(list []past) {
		for _, p := range list {
			named[p.actor] = true
		}
	}
	for _, st := range s.active {
		for _, r := range st.pending {
			if r.live() {
				note(r.past())
			}
		}
	}
	for _, list := range s.seen { // a set: no order
		note(list)
	}
	return named
}

// Awaited returns the actors of whom something is to be forgotten once it is stable, or
// whose missing dots keep something from that, in no order and some twice.
func (s *Store) Awaited() (list []clock.Actor) {
	for _, st := range s.active {
		if len(st.pending) > 0 {
			list = append(list, st.actor)
		}
	}
	for a := range s.gapped { // in no order, as said
		list = append(list, a)
	}
	return list
}
