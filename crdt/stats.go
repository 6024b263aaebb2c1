package crdt

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Stats counts what a Store holds and has done.
type Stats struct {
	Keys     int `json:"keys"`
	Live     int `json:"live"`
	Removals int `json:"removals"`
	Bytes    int `json:"bytes"`
	Actors   int `json:"actors"`  // whose writes were seen
	Retired  int `json:"retired"` // those that have ended, and are named to nobody
	Memory   int `json:"memory"`  // bytes that all this takes, see Store.Memory
	Limit    int `json:"limit"`   // of Memory for local writes that add to it, 0 for none

	Merged      uint64 `json:"merged"`      // remote deltas that changed the state
	Duplicates  uint64 `json:"duplicates"`  // remote dots seen before
	Superseded  uint64 `json:"superseded"`  // deltas that were overwritten when they came
	Quarantined uint64 `json:"quarantined"` // deltas from too far in the future
	Conflicts   uint64 `json:"conflicts"`   // concurrent writes of which one lost
	Expired     uint64 `json:"expired"`
	Collected   uint64 `json:"collected"` // removals forgotten because they were stable
	Truncated   uint64 `json:"truncated"` // removals forgotten because there were too many
	Refused     uint64 `json:"refused"`   // local writes for which there was no room
	Returned    uint64 `json:"returned"`  // times that something new came of a retired actor
	Dropped     uint64 `json:"dropped"`   // records removed because another replica had superseded them
	Rivals      uint64 `json:"rivals"`    // second contents of dots that came: of a liar, a copy, or broken memory
}

// Stats returns the current counts.
func (s *Store) Stats() Stats {
	st := s.stats
	st.Keys, st.Live, st.Removals, st.Bytes, st.Actors = s.Len(), s.count, s.removes, s.bytes, s.context.Len()
	st.Retired = s.context.Retired()
	st.Memory, st.Limit = s.Memory(), s.maxBytes
	return st
}

// AppendState appends the content of the store in one order: every live record
// but removals and those that expire, which replicas forget in their own time.
// Replicas with equal contexts append equal bytes.
func (s *Store) AppendState(dst []byte) []byte {
	var list []*record
	for _, st := range s.active {
		for _, r := range st.live {
			if r != nil && r.sums() {
				list = append(list, r)
			}
		}
	}
	dotOf := func(r *record) clock.Dot { return clock.Dot{Actor: s.actors[r.actor].actor, Seq: r.seq} }
	slices.SortFunc(list, func(a, b *record) int { return dotOf(a).Compare(dotOf(b)) })
	for _, r := range list {
		dst = clock.AppendActor(dst, s.actors[r.actor].actor)
		dst = wire.AppendUint(dst, r.seq)
		dst = wire.AppendStr(dst, r.cell.key())
		dst = wire.AppendUint(dst, uint64(r.kind))
		dst = wire.AppendBin(dst, r.path())
		dst = wire.AppendUint(dst, uint64(r.stamp))
		dst = wire.AppendBin(dst, r.val())
	}
	return dst
}
