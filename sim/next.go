package sim

import (
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// nextVersion is a peer of a later version of this software, as far as today's peers
// notice it: it sends a record of a type they do not know, which they must keep and
// pass on, in a frame with a section and a field they must skip, or one with a
// section that they must refuse.
type nextVersion struct{ seq uint64 }

// What version 1 does not know.
const (
	unknownType     = 100
	unknownSection  = 200
	criticalSection = 100
)

var nextActor = clock.Actor{Birth: 1, Rand: 1}

// speak has p hear of a write to key.
func (n *nextVersion) speak(p *Peer, key string) {
	if !p.up {
		return
	}
	c := p.c
	n.seq++
	c.reached("a record of a later version arrived")
	p.hear(n.frame(c, key, n.seq, unknownSection))
	if n.seq%3 == 0 {
		p.hear(n.frame(c, key, n.seq+1000, criticalSection))
	}
}

func (p *Peer) hear(frame []byte) {
	life := p.r
	p.c.agenda.add(p.c.now, func() {
		if p.up && p.r == life {
			p.receive(frame)
		}
	})
}

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
