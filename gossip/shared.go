package gossip

import (
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// shared is what the protocols of an Engine have in common: the members, the store, and
// the frames that leave.
type shared struct {
	*Members
	cfg     Config
	cluster uint32
	store   *crdt.Store
	rng     *rand.Rand
	stats   Stats

	out   []Envelope
	frame frameWriter
	codec codec

	scheduled []*peer   // those for whom something is, or was
	peersAt   time.Time // not after anything is due for one of them

	blockedAt time.Time              // when packets to a peer were found blocked, so that other paths are doubted; not again for probeEvery
	onBlock   func(time.Time, *peer) // makes good what packets to a peer did not carry
}

// begin returns the engine's writer, emptied.
func (s *shared) begin() *frameWriter {
	w := &s.frame
	w.table.Reset()
	w.table.Index(s.cfg.Self)
	w.body = w.body[:0]
	w.sections = 0
	return w
}

// finish returns the frame, in memory of its own. From three deltas on it is
// compressed if that saves a tenth.
func (s *shared) finish(w *frameWriter, deltas int, bulk bool) []byte {
	actors := w.table.Actors()
	p := wire.AppendArray(w.payload[:0], w.sections+1)
	p = wire.AppendArray(p, 1+len(actors))
	p = wire.AppendUint(p, secActors)
	for _, a := range actors {
		p = clock.AppendActor(p, a)
	}
	p = append(p, w.body...)
	w.payload = p

	flags := uint64(0)
	if deltas >= 3 && len(p) >= 512 {
		packed, flag := s.codec.compress(p, bulk)
		if len(packed) <= len(p)-len(p)/10 {
			p, flags = packed, flag
		}
	}
	frame := make([]byte, 0, len(p)+16)
	frame = wire.AppendArray(frame, 4)
	frame = wire.AppendUint(frame, Version)
	frame = wire.AppendUint(frame, flags)
	frame = wire.AppendUint(frame, uint64(s.cluster))
	if flags != 0 {
		return wire.AppendBin(frame, p)
	}
	return append(frame, p...)
}

// send hands out a frame. Where packets do not pass the stream carries it; now and then
// it is asked whether they do, and once more after those to another peer stopped passing:
// what stops them mostly stops more than one.
func (s *shared) send(now time.Time, p *peer, class Class, frame []byte) {
	if class == Packet && len(frame) > wire.MaxPacketBytes {
		class = Bulk
	}
	if class == Packet && !p.path.usable() {
		class = Urgent
	}
	s.emit(p, class, frame)
	heard := p.path.answeredAt
	if class == Packet && (now.Sub(heard) >= max(probeEvery, time.Duration(len(s.living))*probePace) || heard.Before(s.blockedAt)) {
		s.probeUnlessRecent(now, p)
	}
}

func (s *shared) emit(p *peer, class Class, frame []byte) {
	s.stats.FramesSent++
	s.stats.BytesSent += uint64(len(frame))
	s.out = append(s.out, Envelope{p.Actor, class, frame})
}

// await notes that something is due for p at a time.
func (s *shared) schedule(p *peer, at time.Time) {
	s.peersAt = earlier(s.peersAt, at)
	if !p.scheduled {
		p.scheduled = true
		s.scheduled = append(s.scheduled, p)
	}
}

// fill writes sections for a's dots in have until the body holds limit bytes: the
// live records; of the rest nothing is said. It returns the first dot left out, 0 if
// none, and how many records it wrote.
func (s *shared) fill(w *frameWriter, kind uint64, a clock.Actor, have clock.Range, limit int) (rest uint64, records int) {
	for first := have.First; first <= have.Last; {
		var items []crdt.Delta
		bytes, last := len(w.body), have.Last
		s.store.Live(a, first, have.Last, func(d crdt.Delta) bool {
			if len(items) == sectionDeltas-1 || len(items) > 0 && bytes > limit {
				last = d.Seq() - 1
				return false
			}
			items = append(items, d)
			bytes += d.Encoded()
			return true
		})
		w.deltas(s.store, kind, a, first, last, items)
		records += len(items)
		first = last + 1
		if len(w.body) >= limit && first <= have.Last {
			return first, records
		}
	}
	return 0, records
}
