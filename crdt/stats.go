package crdt

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Stats describes the content of a Store and counts its events since New.
type Stats struct {
	Keys     int `json:"keys"`     // keys that hold content
	Live     int `json:"live"`     // live records, which include removals
	Removals int `json:"removals"` // live removals and clears
	Bytes    int `json:"bytes"`    // bytes of all live records on the wire, about
	Actors   int `json:"actors"`   // actors with dots that were seen
	Retired  int `json:"retired"`  // those of Actors that are retired; see Store.Retire
	Memory   int `json:"memory"`   // bytes of memory, about; see Store.Memory
	Limit    int `json:"limit"`    // bytes of Memory above which local writes may not add content, 0 for no limit

	Merged      uint64 `json:"merged"`      // new dots that came in sections
	Duplicates  uint64 `json:"duplicates"`  // dots in sections that had been seen before
	Superseded  uint64 `json:"superseded"`  // records that were overwritten or had lost when they arrived
	Quarantined uint64 `json:"quarantined"` // records in sections that were stamped too far in the future
	Conflicts   uint64 `json:"conflicts"`   // pairs of concurrent writes of which one lost
	Expired     uint64 `json:"expired"`     // records that expired
	Collected   uint64 `json:"collected"`   // removals forgotten because they were stable
	Truncated   uint64 `json:"truncated"`   // removals forgotten because there were too many
	Refused     uint64 `json:"refused"`     // batches of local writes that the memory limit refused
	Returned    uint64 `json:"returned"`    // times that a retired actor was listed again because of a new dot
	Dropped     uint64 `json:"dropped"`     // records removed because another replica no longer held them
	Rivals      uint64 `json:"rivals"`      // second contents of dots; see Rival
}

// Stats returns the current counts.
func (s *Store) Stats() Stats {
	st := s.stats
	st.Keys, st.Live, st.Removals, st.Bytes, st.Actors = s.Len(), s.liveCount, s.removals, s.wireBytes, s.context.Len()
	st.Retired = s.context.Retired()
	st.Memory, st.Limit = s.Memory(), s.maxBytes
	return st
}

// AppendState appends every record that the checksums cover, in the order of their dots.
// These are the live records without removals and without records that expire, which
// replicas forget at different times. Two replicas with equal contexts append equal bytes.
func (s *Store) AppendState(dst []byte) []byte {
	var list []*record
	for _, st := range s.active {
		for _, r := range st.live {
			if r != nil && s.checksummed(r) {
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
