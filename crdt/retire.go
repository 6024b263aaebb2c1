package crdt

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// Retire moves the listed actors for which rests returns true to the retired part of the
// context, which has the same dots afterwards. It also removes from the tables each retired
// actor to which no record refers. An actor that writes again is listed again. Retire
// returns the number of actors that it moved.
func (s *Store) Retire(rests func(clock.Actor) bool) int {
	retired := s.context.Retire(rests)
	for _, a := range retired {
		if i, ok := s.number[a]; ok {
			st := s.actors[i]
			st.span, st.listed = st.span.Clone(), false
		}
	}
	var idle []*actorState
	for _, st := range s.active {
		if st != s.self && !st.listed && !st.contextDirty && len(st.live) == 0 && !slices.ContainsFunc(st.pending, (*record).live) {
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
			st.activeState = nil
		}
	}
	s.active = slices.DeleteFunc(s.active, func(st *actorState) bool { return st.activeState == nil })
	return len(retired)
}

// named returns the numbers of the actors that occur in the pasts of live records and in
// Store.pruned. Every live record with a past is pending, so the pending lists have them all.
func (s *Store) named() map[uint32]bool {
	named := make(map[uint32]bool)
	note := func(list []pastEntry) {
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
	for _, list := range s.pruned { // the result is a set, so the order does not matter
		note(list)
	}
	return named
}

// Awaited returns the actors on which Collect waits: those with records that it can forget
// once they are stable, and those whose missing dots prevent it from forgetting a record.
// The list has no order and may contain an actor twice.
func (s *Store) Awaited() (list []clock.Actor) {
	for _, st := range s.active {
		if len(st.pending) > 0 {
			list = append(list, st.actor)
		}
	}
	for _, r := range s.spent {
		if r.live() {
			list = append(list, s.actors[r.actor].actor)
		}
	}
	for a := range s.missing { // the list has no order
		list = append(list, a)
	}
	return list
}
