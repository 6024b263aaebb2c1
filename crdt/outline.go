package crdt

import (
	"iter"

	"github.com/sentinel-peer/sentinel-peer/internal/ordered"
)

// outline lists the slots of a large key in the order in which its value shows what they hold.
type outline struct {
	many  *many
	list  *ordered.List[string] // keys of the slots that readers may see; any goroutine may list them
	slots int                   // number of slots in list
	used  uint64                // when somebody last asked for a page, in Unix milliseconds
}

// outlines is the part of a Store that keeps the outlines of keys.
type outlines struct {
	outlined     map[string]*outline // by key
	outlineBytes int                 // memory of the outlines
}

// outlineIdle is the time in milliseconds for which an outline is kept that nobody uses.
const outlineIdle = 60_000

// outline returns the outline of m, the slots of key. A new outline gets the slots from a reader of
// the list, by the function slots.
func (s *outlines) outline(key string, m *many, slots iter.Seq[string], nowMillis uint64) *outline {
	o := m.outline
	if o == nil {
		if old := s.outlined[key]; old != nil { // the key was gone in the meantime
			s.drop(key, old)
		}
		o = &outline{many: m}
		o.list = ordered.New(compareSlots, slots, func() int { return o.slots })
		if s.outlined == nil {
			s.outlined = make(map[string]*outline)
		}
		m.outline, s.outlined[key] = o, o
		s.count(o, m.visibleRecords)
	}
	o.used = nowMillis
	return o
}

func (s *outlines) count(o *outline, slots int) {
	o.slots += slots
	s.outlineBytes += slots * outlineMemory
}

func (s *outlines) drop(key string, o *outline) {
	delete(s.outlined, key)
	o.many.outline = nil
	s.count(o, -o.slots)
}

// DropOutlines frees the memory that pages of large keys took of which nobody has asked for one in the
// last minute. The time nowMillis is in Unix milliseconds.
func (s *outlines) DropOutlines(nowMillis uint64) {
	for key, o := range s.outlined {
		if o.used+outlineIdle <= nowMillis {
			s.drop(key, o)
		}
	}
}

// follow follows a change of a slot of m in m's counts and in its outline. before and after say
// whether readers could see the slot before the change, and can see it after it.
func (s *outlines) follow(m *many, slot string, before, after bool) {
	if before == after {
		return
	}
	n := 1
	if before {
		n = -1
	}
	if slot[:2] == elementSlot && isElementOf(slot[2:], "") {
		m.elements += n
	}
	if m.outline != nil {
		m.outline.list.Note(slot, before)
		s.count(m.outline, n)
	}
}
