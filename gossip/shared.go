package gossip

import (
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// shared is what the machines of an Engine have in common: the members, the store, and the frames
// that leave.
type shared struct {
	*Members
	cfg     Config
	cluster uint32 // hash of Config.Cluster
	store   *crdt.Store
	rng     *rand.Rand // seeded with Config.Seed
	stats   Stats

	out   []Envelope  // frames since the last call of Envelopes
	frame frameWriter // see begin
	codec codec

	scheduled []*peer   // peers for which something is due at some time, and some for which nothing is any more
	peersAt   time.Time // a time no later than the first of these; zero for never

	blockedAt time.Time              // when packets to any peer were last found blocked: older answers to probes say little; set once in probeEvery
	onBlock   func(time.Time, *peer) // Engine.resendPackets
}

// begin returns the engine's frame writer, empty. There is one, so a frame is finished before the next
// begins.
func (s *shared) begin() *frameWriter {
	w := &s.frame
	w.table.Reset()
	w.table.Index(s.cfg.Self)
	w.body = w.body[:0]
	w.sections = 0
	return w
}

// finish returns the frame in memory of its own. A frame with at least three deltas and 512 B is
// compressed if that saves a tenth; bulk says that it may use zstd.
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

// send makes an envelope of a frame, which it takes over. A packet that is too long goes on the stream as
// bulk, and one that packets cannot carry goes there as urgent. After a packet it probes the path if the
// last answer is old, or came before packets to another peer were found blocked: what blocks
// packets mostly blocks them to several peers.
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

// emit makes an envelope of a frame.
func (s *shared) emit(p *peer, class Class, frame []byte) {
	s.stats.FramesSent++
	s.stats.BytesSent += uint64(len(frame))
	s.out = append(s.out, Envelope{p.Actor, class, frame})
}

// schedule makes Tick look at p at a given time.
func (s *shared) schedule(p *peer, at time.Time) {
	s.peersAt = earlier(s.peersAt, at)
	if !p.scheduled {
		p.scheduled = true
		s.scheduled = append(s.scheduled, p)
	}
}

// fill writes sections with the live records of a in the range have, until the frame's body holds limit
// bytes. The sections say nothing about dots without a record. fill returns the first dot left out,
// 0 if there is none, and the number of records that it wrote.
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
