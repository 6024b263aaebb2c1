package gossip

import (
	"time"
)

// Stats counts what an Engine has done.
type Stats struct {
	Pushed          uint64            `json:"pushed"`
	DeltasSent      uint64            `json:"deltas_sent"`
	VoidsSent       uint64            `json:"voids_sent"`
	DeltasReceived  uint64            `json:"deltas_received"`
	Duplicates      uint64            `json:"duplicates"`
	FramesSent      uint64            `json:"frames_sent"`
	FramesReceived  uint64            `json:"frames_received"`
	BytesSent       uint64            `json:"bytes_sent"`
	BytesReceived   uint64            `json:"bytes_received"`
	Flushes         uint64            `json:"flushes"`
	Overflows       uint64            `json:"overflows"`
	Lost            uint64            `json:"lost"`
	GapRequests     uint64            `json:"gap_requests"`
	GapAnswers      uint64            `json:"gap_answers"`
	GapsUnanswered  uint64            `json:"gaps_unanswered"` // ranges: more was asked for than is answered in a second
	HeadsIgnored    uint64            `json:"heads_ignored"`   // of actors that nobody else has spoken of, beyond 64 a peer
	Digests         uint64            `json:"digests"`
	SyncRequests    uint64            `json:"sync_requests"`
	ContextsHeld    uint64            `json:"contexts_held"` // ends of syncs that told of writes which nobody else had spoken of
	SyncsRefined    uint64            `json:"syncs_refined"` // requests of others that were not understood: they had seen other lives
	Reconciliations uint64            `json:"reconciliations"`
	BeatsSent       uint64            `json:"beats_sent"`
	BeatsReceived   uint64            `json:"beats_received"` // leases of workers, not frames
	Probes          uint64            `json:"probes"`         // packets that ask whether packets pass
	PathsBlocked    uint64            `json:"paths_blocked"`  // times that packets to a peer turned out not to
	Refused         map[string]uint64 `json:"refused"`        // frames, by reason
	Pending         int               `json:"pending"`
	QueuedBytes     int               `json:"queued_bytes"`
	Gaps            int               `json:"gaps"`
	Disputed        int               `json:"disputed"` // records that a peer says are gone, and that stay
}

func (s *Stats) refused(reason string) {
	if s.Refused == nil {
		s.Refused = make(map[string]uint64)
	}
	s.Refused[reason]++
}

// Stats returns the current counts. Refused is the caller's.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Refused = make(map[string]uint64, len(e.stats.Refused))
	for k, v := range e.stats.Refused {
		s.Refused[k] = v
	}
	s.Pending, s.QueuedBytes = e.Pending()
	s.Gaps = len(e.gaps)
	e.Disputed(func(_ string, records int) { s.Disputed = max(s.Disputed, records) })
	return s
}

// PeerStatus is what the engine knows of one peer.
type PeerStatus struct {
	Peer
	Lag         uint64        // own writes it has not acknowledged
	ClockOffset time.Duration // of its clock to this peer's, 0 if unknown
	ClockSkewed bool          // by more than MaxSkew from the cluster's time
	RulesDiffer bool
	Contact     time.Time // when it was last heard
	PacketsTo   Passage   // whether packets reach it
	PacketsFrom Passage   // and its reach this peer, as far as it has said
	Behind      bool      // its queue overflowed and it has not caught up
	Have, Total int       // progress of the last sync from it
	AgreedAt    time.Time // when its state was last seen to be equal to this peer's
	Agrees      bool      // and this peer still holds that state
}

// Peers returns the status of all peers, by actor.
func (e *Engine) Peers() []PeerStatus {
	list, state := make([]PeerStatus, 0, len(e.peers)), e.stateHash()
	for _, p := range e.peers {
		r := e.reports[p.reportIndex]
		list = append(list, PeerStatus{
			Peer:        p.Peer,
			Lag:         e.store.Last() - min(p.ackedOwn, e.store.Last()),
			ClockOffset: r.offset,
			ClockSkewed: e.skewed(r),
			RulesDiffer: e.differs(r),
			Contact:     p.contact,
			PacketsTo:   p.path.to,
			PacketsFrom: p.path.from,
			Behind:      p.behind,
			Have:        p.have,
			Total:       p.total,
			AgreedAt:    p.agreedAt,
			Agrees:      !p.agreedAt.IsZero() && p.agreedHash == state,
		})
	}
	return list
}
