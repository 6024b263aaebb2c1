package transport

import (
	"sync/atomic"
	"time"
)

// Stats is a reading of the counters since Open and of a few gauges. The keys of
// the maps are always all there, do not change between versions, and fit as
// metric labels.
type Stats struct {
	Packets Traffic `json:"packets"` // frames of SendPacket
	Streams Traffic `json:"streams"` // frames of SendStream

	// Drops counts frames lost here: queue_full, stream_broken, peer_gone (while
	// queued), handler_queue_full (memberlist's), unknown_kind, cut, replayed, no_member.
	Drops map[string]uint64 `json:"drops"`
	// Refused counts connections and packets turned away: wrong_cluster,
	// wrong_key, wrong_version, wrong_target, wrong_seal, malformed, timeout, busy, cut.
	Refused map[string]uint64 `json:"refused"`

	StreamsOut int `json:"streams_out"` // peer streams we opened that are up
	StreamsIn  int `json:"streams_in"`  // peer streams others opened that are up

	RejoinAttempts uint64        `json:"rejoin_attempts"` // addresses dialled to find lost peers
	Heals          uint64        `json:"heals"`           // lost addresses that came back
	Missing        int           `json:"missing"`         // known addresses with no living member
	PartitionAge   time.Duration `json:"partition_age"`   // since the longest missing of them went missing; 0 if none
}

// Traffic counts frames and their bytes.
type Traffic struct {
	In       uint64 `json:"in"`
	Out      uint64 `json:"out"`
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
}

// cause is one reason to drop or refuse.
type cause uint8

const (
	dropQueueFull   cause = iota // a peer's stream queue was full
	dropBroken                   // taken from the queue when its stream broke
	dropGone                     // queued for a peer that went away
	dropHandler                  // memberlist's hand-off queue was full
	dropKind                     // of a kind this version does not know, or has no use for
	dropCut                      // a fault of Cut ate it
	dropReplayed                 // an envelope that came before, or long after those that were sent with it
	dropNobody                   // for an address where no member is known
	refuseCluster                // of another cluster
	refuseKey                    // sealed with a key we do not have, or with none
	refuseVersion                // of another stream protocol version
	refuseTarget                 // meant for another member id
	refuseSeal                   // sealed for or by another life, or changed on its way
	refuseMalformed              // not our protocol
	refuseTimeout                // did not say hello in time
	refuseBusy                   // too many unproven connections at once
	refuseCut                    // a fault of Cut
	causes
)

var causeNames = [causes]string{
	dropQueueFull: "queue_full", dropBroken: "stream_broken", dropGone: "peer_gone",
	dropHandler: "handler_queue_full", dropKind: "unknown_kind", dropCut: "cut",
	dropReplayed: "replayed", dropNobody: "no_member",
	refuseCluster: "wrong_cluster", refuseKey: "wrong_key", refuseVersion: "wrong_version",
	refuseTarget: "wrong_target", refuseSeal: "wrong_seal", refuseMalformed: "malformed", refuseTimeout: "timeout",
	refuseBusy: "busy", refuseCut: "cut",
}

func (c cause) String() string { return causeNames[c] }

type counters struct {
	packets, streams struct{ in, out, bytesIn, bytesOut atomic.Uint64 }

	causes                [causes]atomic.Uint64
	streamsOut, streamsIn atomic.Int64
	rejoins, heals        atomic.Uint64
}

func (c *counters) count(why cause, n int) { c.causes[why].Add(uint64(n)) }

func (c *counters) read() Stats {
	s := Stats{
		Drops:          make(map[string]uint64, refuseCluster),
		Refused:        make(map[string]uint64, causes-refuseCluster),
		StreamsOut:     int(c.streamsOut.Load()),
		StreamsIn:      int(c.streamsIn.Load()),
		RejoinAttempts: c.rejoins.Load(),
		Heals:          c.heals.Load(),
	}
	p, st := &c.packets, &c.streams
	s.Packets = Traffic{p.in.Load(), p.out.Load(), p.bytesIn.Load(), p.bytesOut.Load()}
	s.Streams = Traffic{st.in.Load(), st.out.Load(), st.bytesIn.Load(), st.bytesOut.Load()}
	for i := range causes {
		if i < refuseCluster {
			s.Drops[i.String()] = c.causes[i].Load()
		} else {
			s.Refused[i.String()] = c.causes[i].Load()
		}
	}
	return s
}
