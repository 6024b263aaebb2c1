package sim

import (
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// nextVersion stands for a peer that runs a later version of this software. It sends a
// record of an unknown type, which today's peers must keep and pass on. The frame has an
// unknown section and an unknown field, which they must skip. Every third time it also
// sends a frame with an unknown critical section, which they must refuse.
type nextVersion struct{ seq uint64 }

// Numbers that version 1 of the protocol does not define.
const (
	unknownType     = 100
	unknownSection  = 200
	criticalSection = 100
)

var nextActor = clock.Actor{Birth: 1, Rand: 1}

// speak delivers a write of key to p.
func (n *nextVersion) speak(p *Peer, key string) {
	if !p.up {
		return
	}
	c := p.c
	n.seq++
	c.reached("a record of a later version arrived")
	p.deliver(n.frame(c, key, n.seq, unknownSection))
	if n.seq%3 == 0 {
		p.deliver(n.frame(c, key, n.seq+1000, criticalSection))
	}
}

// deliver has p receive frame now, as an event of its own.
func (p *Peer) deliver(frame []byte) {
	life := p.r
	p.c.agenda.add(p.c.now, func() {
		if p.up && p.r == life {
			p.receive(frame)
		}
	})
}

// frame encodes a frame with one delta, the seq-th of nextActor, and a section of type extra.
func (n *nextVersion) frame(c *Cluster, key string, seq uint64, extra uint64) []byte {
	b := wire.AppendArray(nil, 5)
	b = wire.AppendUint(b, gossip.Version)
	b = wire.AppendUint(b, 0)
	b = wire.AppendUint(b, clusterHash())
	b = wire.AppendArray(b, 3)

	b = wire.AppendArray(b, 2)
	b = wire.AppendUint(b, 0)
	b = clock.AppendActor(b, nextActor)

	b = wire.AppendArray(b, 2)
	b = wire.AppendUint(b, extra)
	b = wire.AppendStr(b, "a section of tomorrow")

	b = wire.AppendArray(b, 2)
	b = wire.AppendUint(b, 1)
	b = wire.AppendArray(b, 4)
	b = wire.AppendUint(b, 0)
	b = wire.AppendUint(b, seq)
	b = wire.AppendUint(b, uint64(clock.TimestampAt(epoch.Add(c.now))))
	b = wire.AppendArray(b, 1)
	b = wire.AppendArray(b, 5)
	b = wire.AppendUint(b, unknownType<<4)
	b = wire.AppendUint(b, 0)
	b = wire.AppendBin(b, []byte(key))
	b = wire.AppendInt(b, 0)
	b = wire.AppendBin(b, []byte{0x2a})

	return wire.AppendStr(b, "a field of tomorrow")
}
