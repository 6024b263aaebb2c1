package gossip

import (
	"time"
)

// Stats counts what an Engine has done since it was made. The last four fields are states, not counts.
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
	GapsUnanswered  uint64            `json:"gaps_unanswered"` // ranges that were not answered, because the peer had requested too much within a second
	HeadsIgnored    uint64            `json:"heads_ignored"`   // heads of actors that only their sender has named, beyond 64 a peer
	Digests         uint64            `json:"digests"`
	SyncRequests    uint64            `json:"sync_requests"`
	ContextsHeld    uint64            `json:"contexts_held"` // syncs whose context named writes that no other peer had confirmed
	SyncsRefined    uint64            `json:"syncs_refined"` // requests of other peers whose hashes over retired actors differed from this peer's
	Reconciliations uint64            `json:"reconciliations"`
	BeatsSent       uint64            `json:"beats_sent"`
	BeatsReceived   uint64            `json:"beats_received"` // leases of workers, not frames
	Probes          uint64            `json:"probes"`         // packets that were sent to find out whether packets get through
	PathsBlocked    uint64            `json:"paths_blocked"`  // times that packets to a peer were found blocked
	Refused         map[string]uint64 `json:"refused"`        // refused frames, by FrameError.Reason
	Pending         int               `json:"pending"`        // deltas queued for all peers
	QueuedBytes     int               `json:"queued_bytes"`
	Gaps            int               `json:"gaps"`
	Disputed        int               `json:"disputed"` // live records that a peer reports as absent, the greatest number of any peer
}

// refused counts a refused frame.
func (s *Stats) refused(reason string) {
	if s.Refused == nil {
		s.Refused = make(map[string]uint64)
	}
	s.Refused[reason]++
}

// Stats returns the current counts. The caller owns the map Refused.
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

// PeerStatus is what an Engine knows of one other peer.
type PeerStatus struct {
	Peer
	Lag         uint64        // this peer's own writes that the other has not acknowledged
	ClockOffset time.Duration // the other peer's clock minus this one's, 0 if unknown
	ClockSkewed bool          // the other peer's clock is more than MaxSkew from the cluster's time
	RulesDiffer bool          // the other peer merges by other rules
	Contact     time.Time     // when the last frame of the other peer came
	PacketsTo   Passage       // whether packets reach the other peer
	PacketsFrom Passage       // whether the other peer's packets reach this one, as it says
	Behind      bool          // the queue for the other peer overflowed, and it has not synced since
	Have, Total int           // progress of the last sync from the other peer, in records
	AgreedAt    time.Time     // when the states of both were last seen to be equal
	Agrees      bool          // this peer still holds the state of AgreedAt
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
