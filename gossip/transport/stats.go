package transport

import (
	"sync/atomic"
	"time"
)

// Stats holds the counters since Open and a few gauges. The maps always have all their keys, which
// stay the same between versions and may serve as labels of metrics. They belong to the caller.
type Stats struct {
	Packets Traffic `json:"packets"` // frames of SendPacket
	Streams Traffic `json:"streams"` // frames of SendStream

	// Drops counts frames lost here: queue_full, stream_broken, peer_gone (while
	// queued), handler_queue_full (memberlist's), unknown_kind, cut, replayed, no_member.
	Drops map[string]uint64 `json:"drops"`
	// Refused counts connections and packets turned away: wrong_cluster,
	// wrong_key, wrong_version, wrong_target, wrong_seal, malformed, timeout, busy, cut.
	Refused map[string]uint64 `json:"refused"`

	StreamsOut int `json:"streams_out"` // open peer streams to other peers
	StreamsIn  int `json:"streams_in"`  // open peer streams from other peers

	RejoinAttempts uint64        `json:"rejoin_attempts"` // addresses dialled to find lost peers
	Heals          uint64        `json:"heals"`           // lost addresses that came back
	Missing        int           `json:"missing"`         // known addresses with no living member
	PartitionAge   time.Duration `json:"partition_age"`   // time for which the address that is missing longest has been missing; 0 if none is
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
	dropQueueFull   cause = iota // the stream queue of the peer was full
	dropBroken                   // the stream broke while the frame was being written
	dropGone                     // the peer went away while the frame was queued
	dropHandler                  // memberlist's hand-off queue was full
	dropKind                     // the message has a kind that this version does not know or use
	dropCut                      // Cut dropped the packet
	dropReplayed                 // the envelope came before, or is too old to tell
	dropNobody                   // no member is known at the address
	refuseCluster                // the sender belongs to another cluster
	refuseKey                    // the sender has no key, or one that this peer does not have
	refuseVersion                // the sender speaks another version of the stream protocol
	refuseTarget                 // the connection is meant for another member id
	refuseSeal                   // the message was sealed for or by another life, or was changed
	refuseMalformed              // the bytes are not of this protocol
	refuseTimeout                // the handshake did not end in time
	refuseBusy                   // too many connections were not proven
	refuseCut                    // Cut refused the connection
	causes                       // number of causes; as a result it means "accepted"
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
