package sim

import (
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// added returns the number of bytes by which ops would make the peer's store grow. It
// applies ops to a copy of the store that has no memory limit.
func added(p *Peer, ops []crdt.Op) int {
	s := p.r.Store()
	free := crdt.New(crdt.Config{Actor: p.r.Actor(), Rules: p.c.rules})
	stamp := clock.TimestampAt(p.wall())
	for a, span := range s.Context().All() {
		var list []crdt.Delta
		s.Live(a, 1, clock.MaxSeq, func(d crdt.Delta) bool {
			list = append(list, d)
			return true
		})
		var table crdt.ActorTable
		r := wire.NewReader(s.AppendSection(nil, &table, a, 1, span.Head(), list))
		res, err := free.JoinSection(&r, table.Actors(), anyStamp)
		if err != nil {
			p.c.judge.violate(p.index, "O6: %s cannot be copied: %v", p.name, err)
		}
		stamp = max(stamp, res.MaxStamp+1)
	}
	free.Adopt(s.Context())
	before := free.Memory()
	if _, err := free.Apply(stamp, p.millis(), ops...); err != nil {
		p.c.judge.violate(p.index, "O15: %s refuses for want of room what has another fault: %v", p.name, err)
	}
	return free.Memory() - before
}

// anyStamp is later than every stamp of a run.
const anyStamp = clock.Timestamp(1 << 63)
