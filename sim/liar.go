package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// liar is a member that breaks the protocol on purpose. All peers take it for a member that
// is up, from its first lie until calm removes it. Every frame that it sends is a lie.
type liar struct {
	c        *Cluster
	actor    clock.Actor    // zero before the first lie
	here     bool           // the liar is a member
	stores   [2]*crdt.Store // the two contents of its writes
	lieCount uint64         // lies so far
	made     uint64         // actors invented so far
	traffic  []traffic      // the traffic from each peer

	claimed *Peer             // the voter whose name the liar claims
	node    *lockservice.Node // votes in that name
	poison  *Peer             // the peer whose future writes the liar claims to have seen
}

const liarName = "liar"

// traffic counts the bytes that a peer has sent to the liar within a second.
type traffic struct {
	since time.Duration
	bytes int
}

// lies are the lies that a seed draws. See [Cluster.Do] for them, and for "seen" and
// "empty", which drawLies adds in seeds where no peer is out of sight.
var lies = []string{"twice", "gaps", "heads", "name"}

// The amounts of a liar.
const (
	liarOneIn   = 8 // one seed of so many has a liar
	lieStream   = 0x11e5
	liarRequest = time.Millisecond       // between two requests for gaps
	liarAsks    = 500                    // requests for gaps
	liarHeads   = 20                     // frames of heads
	liarActors  = 100                    // invented actors in each of them
	liarLists   = 20                     // empty lists
	liarList    = 100 * time.Millisecond // between two of them
	liarFills   = 100                    // keys that exist when the lists come
)

// drawLies adds a liar to some scripts, but not to those with a clone. A clone that has not
// noticed the other makes peers count members differently. They then believe nobody about
// the writes of a removed member for ten minutes.
func drawLies(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, lieStream))
	d.peers = d.script.Config.Peers
	cloned := func(s Step) bool { return strings.HasPrefix(s.Do, "clone ") }
	if !d.one(liarOneIn) || d.well || !d.may("lie") || slices.ContainsFunc(d.script.Steps, cloned) {
		return d.script
	}
	if d.one(4) && d.peers > 2 {
		d.script.inSight()
		d.step(d.up(d.script.Ends), "lie seen %d", d.peer())
	}
	for range 1 + d.rng.IntN(6) {
		at := d.up(d.script.Ends)
		voters := d.script.Config.Locks.Voters
		switch lie := lies[d.rng.IntN(len(lies))]; {
		case lie == "name" && voters > 0:
			d.step(at, "lie name %d", 1+d.rng.IntN(voters))
		case lie == "name", lie == "twice", d.one(2):
			d.step(at, "lie twice %s/k%d", []string{"lie", "lie", "reg"}[d.rng.IntN(3)], d.rng.IntN(3))
		default:
			d.step(at, "lie %s %d", lie, d.peer())
		}
	}
	if d.one(4) && d.peers > 2 {
		d.script.inSight()
		d.step(0, "%d fill %d", d.peer(), liarFills)
		for range 1 + d.rng.IntN(3) {
			d.step(d.up(d.script.Ends), "lie empty %d", d.peer())
		}
	}
	return d.script
}

// inSight removes the steps that take a peer out of the sight of others. The protocol does
// not protect a peer that is alone with the liar, nor the writes of a peer that is down.
func (s *Script) inSight() {
	s.Steps = slices.DeleteFunc(s.Steps, func(step Step) bool {
		verb, _, _ := strings.Cut(step.Do, " ")
		return slices.Contains([]string{"cut", "kill", "stop", "suspect", "pause"}, verb)
	})
}

// lie parses the arguments of a lie: "twice KEY", "gaps 2".
func (c steps) lie(args []string) (func(), error) {
	l := &c.liar
	if arg(args, 0) == "twice" {
		key := arg(args, 1)
		return func() { c.judge.faulted(); l.twice(key) }, crdt.ValidateKey(key)
	}
	p, err := c.peerArg(args, 1)
	if err != nil {
		return nil, err
	}
	lie := l.heads
	switch arg(args, 0) {
	case "gaps":
		lie = l.gaps
	case "heads":
	case "seen":
		lie = l.seen
	case "empty":
		lie = l.empty
	case "name":
		if p.index >= c.cfg.Locks.Voters {
			return nil, fmt.Errorf("n%d is no voter", p.index+1)
		}
		lie = l.name
	default:
		return nil, fmt.Errorf("one of the lies %v is wanted", lies)
	}
	return func() {
		c.judge.faulted()
		if p.up && !p.paused {
			lie(p)
		}
	}, nil
}

// wall returns the liar's time: that of the first peer.
func (l *liar) wall() time.Time { return l.c.peers[0].wall() }

// join counts a lie, and makes the liar a member if it is none.
func (l *liar) join() {
	l.lieCount++
	if l.here {
		return
	}
	if l.actor.IsZero() {
		l.actor = clock.NewActor(l.wall(), 0x11a5)
		l.traffic = make([]traffic, len(l.c.peers))
		for i := range l.stores {
			l.stores[i] = crdt.New(crdt.Config{Actor: l.actor})
		}
	}
	l.here = true
	l.c.note(Started, len(l.c.peers), "joins, and lies")
	for _, p := range l.c.peers {
		p.setView()
	}
}

// leave removes the liar from the members.
func (l *liar) leave() { l.here, l.claimed, l.node, l.poison = false, nil, nil, nil }

// tell sends a frame with these sections to p.
func (l *liar) tell(p *Peer, table *crdt.ActorTable, sections ...[]byte) {
	c := l.c
	b := wire.AppendArray(c.buffer(), 4)
	b = wire.AppendUint(wire.AppendUint(b, gossip.Version), 0)
	b = wire.AppendArray(wire.AppendUint(b, clusterHash()), 1+len(sections))
	b = wire.AppendUint(wire.AppendArray(b, 1+len(table.Actors())), 0)
	for _, a := range table.Actors() {
		b = clock.AppendActor(b, a)
	}
	for _, s := range sections {
		b = append(b, s...)
	}
	f := newFate(c.cfg.Seed, digest(uint64(p.index), b), l.lieCount)
	c.hash = mix(c.hash, digest(uint64(c.now), b))
	if p.up {
		c.agenda.plan(event{at: c.now + transit(&f), to: p, life: p.r, frame: b})
	}
}

// clusterHash returns the hash that stands for the cluster's name in a frame.
func clusterHash() uint64 {
	h := fnv.New32a()
	h.Write([]byte("sim"))
	return uint64(h.Sum32())
}

// table returns the table of actors for a frame, with the liar first.
func (l *liar) table() *crdt.ActorTable {
	t := new(crdt.ActorTable)
	t.Index(l.actor)
	return t
}

// twice makes one write with two contents. It sends each peer the one or the other, or
// nothing, so that such a peer gets it from others.
func (l *liar) twice(key string) {
	l.join()
	c := l.c
	c.judge.lied(key)
	f := newFate(c.cfg.Seed, l.lieCount, digest(0, []byte(key)))
	one, two := c.number(f.below(3)), c.number(3+f.below(3))
	ops := [2]crdt.Op{{Verb: crdt.Put, Key: key, Value: one}, {Verb: crdt.Put, Key: key, Value: two}}
	switch f.below(4) {
	case 0:
		ops[1].Key = "lie/elsewhere"
	case 1:
		ops[1] = crdt.Op{Verb: crdt.Add, Key: "lie/set", Values: []crdt.Value{two}}
	}
	first := l.stores[0].Last() + 1
	stamp, now := clock.TimestampAt(l.wall()), uint64(l.wall().UnixMilli())
	var sections [2][]byte
	var tables [2]*crdt.ActorTable
	for i, s := range l.stores {
		deltas, err := s.Apply(stamp, now, ops[i])
		if err != nil || len(deltas) != 1 {
			c.judge.violate(0, "O17: the lie at %s is %d writes: %v", key, len(deltas), err)
			return
		}
		tables[i] = l.table()
		sections[i] = wire.AppendUint(wire.AppendArray(nil, 2), 1)
		sections[i] = s.AppendSection(sections[i], tables[i], l.actor, first, first, deltas)
	}
	for _, p := range c.peers {
		if i := f.below(3); i < len(sections) {
			l.tell(p, tables[i], sections[i])
		}
	}
}

// number returns n as a value.
func (c *Cluster) number(n int) crdt.Value {
	v, _ := c.memo.value(strconv.Itoa(n)) // a number is always a value
	return v
}

// gaps asks p for all its writes, liarAsks times.
func (l *liar) gaps(p *Peer) {
	l.join()
	life := p.r
	for i := range liarAsks {
		l.c.agenda.add(l.c.now+time.Duration(i)*liarRequest, func() {
			if !l.here || p.r != life || !p.up {
				return
			}
			t := l.table()
			b := wire.AppendUint(wire.AppendArray(nil, 4), 4)
			b = wire.AppendUint(b, uint64(t.Index(p.r.Actor())))
			l.tell(p, t, wire.AppendUint(wire.AppendUint(b, 1), clock.MaxSeq))
		})
	}
}

// heads announces to p writes of invented actors, and checks a second later that p asks
// for few of them.
func (l *liar) heads(p *Peer) {
	l.join()
	for range liarHeads {
		t := l.table()
		b := wire.AppendUint(wire.AppendArray(nil, 2+2*liarActors), 2)
		b = append(b, 0xc3) // asks for an acknowledgement
		for range liarActors {
			l.made++
			b = wire.AppendUint(b, uint64(t.Index(clock.Actor{Birth: l.actor.Birth, Rand: l.made << 20})))
			b = wire.AppendUint(b, 9)
		}
		l.tell(p, t, b)
	}
	life := p.r
	l.c.agenda.add(l.c.now+time.Second, func() {
		if p.r != life || !p.up {
			return
		}
		known := liarGaps
		for _, q := range l.c.peers {
			known += len(q.lives)
		}
		if n := p.r.View().Stats().Gaps; n > known {
			l.c.judge.violate(p.index, "O17: %s asks for writes of %d actors, %d of whom nobody but a liar has spoken of", p.name, n, n-known+liarGaps)
		}
	})
}

// The bounds of O17: what a liar may cost one peer.
const (
	liarGaps    = 64 + 2 // actors with gaps; the liar and nextActor are the two beyond the protocol's 64
	liarTakes   = 64     // records dropped because the liar alone says that they are gone
	liarAnswers = 32     // bytes sent to the liar in a second, as a multiple of the peer's live bytes
)

// hear takes a frame from p. It answers with a lie, and checks that p does not send too much.
func (l *liar) hear(p *Peer, e gossip.Envelope) {
	if e.Class == gossip.Bulk {
		l.c.net.reopen(p, e, liarRequest)
	}
	l.answer(p, e.Frame)
	h := &l.traffic[p.index]
	if l.c.now-h.since >= time.Second {
		*h = traffic{since: l.c.now}
	}
	h.bytes += len(e.Frame)
	if most := liarAnswers * (p.r.Store().LiveBytes() + 1<<10); h.bytes > most {
		l.c.judge.violate(p.index, "O17: %s sends a liar %d bytes in a second; it holds %d", p.name, h.bytes, p.r.Store().LiveBytes())
		*h = traffic{since: l.c.now}
	}
}

// empty tells p again and again that the liar has the same context and no records. It then
// checks that p has dropped few of its own.
func (l *liar) empty(p *Peer) {
	l.join()
	life, dropped := p.r, p.r.Store().Stats().Dropped
	for i := range liarLists {
		l.c.agenda.add(l.c.now+time.Duration(i)*liarList, func() {
			s := p.r.Store()
			if !l.here || p.r != life || !p.up || sums(s) <= liarTakes {
				return
			}
			if p.r.View().Stats().Disputed > 0 {
				l.c.reached("records were in dispute")
			}
			t := l.table()
			last := clock.Actor{Birth: 1<<48 - 1, Rand: 1<<64 - 1}
			b := wire.AppendUint(wire.AppendArray(nil, 9), 11)
			b = wire.AppendUint(b, s.Context().Sum())
			b = append(wire.AppendBin(b, bytes.Repeat([]byte{0xff}, 32)), 0xc2) // all shards; wants no answer
			b = wire.AppendUint(wire.AppendUint(b, uint64(t.Index(clock.Actor{Rand: 1}))), 0)
			b = wire.AppendUint(wire.AppendUint(b, uint64(t.Index(last))), 1<<63)
			l.tell(p, t, wire.AppendArray(b, 0))
		})
	}
	l.c.agenda.add(l.c.now+liarLists*liarList+time.Second, func() {
		if n := p.r.Store().Stats().Dropped; p.r == life && n > dropped+liarTakes {
			l.c.judge.violate(p.index, "O17: %s has dropped %d records of which a liar alone said that they are gone", p.name, n-dropped)
		}
	})
}

// sums returns the number of live records: those that a list can take away.
func sums(s *crdt.Store) (n int) {
	s.EachLive(clock.Dot{}, clock.Dot{Actor: clock.Actor{Birth: 1<<48 - 1, Rand: 1<<64 - 1}, Seq: 1 << 63}, nil, func(crdt.Delta) bool {
		n++
		return true
	})
	return n
}

// name claims the name of a voter that is up. The protocol does not protect the name of a
// peer that is down, so peers that take the voter for dead do not learn of the claim.
func (l *liar) name(voter *Peer) {
	l.join()
	cfg := lockservice.Config{
		Self: voter.name, Seed: l.c.cfg.Seed, Voters: voter.voters,
		MaxTTL: l.c.cfg.Locks.MaxTTL, Drift: l.c.cfg.Locks.Drift, FirstBoot: true, // claims to be new, and so is not silent
	}
	binary.BigEndian.PutUint64(cfg.Boot[8:], l.lieCount)
	node, err := lockservice.New(cfg, voter.lockTime())
	if err != nil {
		l.c.judge.violate(voter.index, "O17: nobody can claim to be %s: %v", voter.name, err)
		return
	}
	l.claimed, l.node = voter, node
	l.c.reached("a voter's name was claimed")
	for _, p := range l.c.peers {
		p.setView()
	}
}

// claims reports whether the liar claims the name of q.
func (l *liar) claims(q *Peer) bool { return l.here && l.claimed == q }

// vote answers a lock packet from p in the name of the claimed voter.
func (l *liar) vote(p *Peer, packet []byte) {
	voter, t := l.claimed, l.claimed.lockTime()
	if l.node.Receive(t, p.name, packet) != nil {
		return // p has another list of voters
	}
	for _, answer := range l.node.Ready(t).Packets {
		to := l.c.named(answer.To)
		if to == nil {
			continue
		}
		f := newFate(l.c.cfg.Seed, digest(liarSalt^uint64(to.index), answer.Bytes))
		l.c.At(l.c.now+transit(&f), func() {
			if k := to.locks; k != nil {
				k.do(func() { k.receive(liarName, voter, answer.Bytes) })
			}
		})
	}
}

// liarSalt gives the liar's votes other fates than equal packets of the voter.
const liarSalt = 0x11a5_11a5_11a5_11a5

// seen makes the liar claim, from now on, that it has seen future writes of a peer. It
// sends the other peers a digest that differs from theirs, so that they ask for a sync.
func (l *liar) seen(writer *Peer) {
	l.join()
	l.poison = writer
	l.c.reached("writes yet to come were said to be seen")
	for _, p := range l.c.peers {
		if p == writer {
			continue
		}
		b := wire.AppendUint(wire.AppendArray(nil, 7), 5)
		for _, n := range []uint64{0, l.lieCount, uint64(l.wall().UnixMilli()), l.c.rules.Fingerprint(), 0, 0} { // equal to no peer's digest
			b = wire.AppendUint(b, n)
		}
		l.tell(p, l.table(), b)
	}
}

// future is the number of writes to come that the liar claims to have seen.
const future = 1000

// answer replies to a sync-request with a context that has future writes of l.poison.
func (l *liar) answer(p *Peer, frame []byte) {
	if l.poison == nil || l.poison == p {
		return
	}
	r := wire.NewReader(frame)
	r.ArrayLen()
	r.Skip()
	if flags := r.Uint(); flags != 0 {
		return // a compressed frame is no request
	}
	r.Skip()
	for range r.ArrayLen() {
		section := wire.NewReader(r.Raw())
		section.ArrayLen()
		if section.Uint() != 6 {
			continue
		}
		request := section.Uint()
		lie := clock.NewContext()
		lie.AddRange(l.poison.r.Actor(), 1, l.poison.r.Store().Last()+future)
		b := wire.AppendUint(wire.AppendArray(nil, 7), 8)
		b = append(wire.AppendUint(b, request), 0xc2) // the last answer
		b = wire.AppendUint(wire.AppendUint(wire.AppendUint(b, 0), 0), 0)
		l.tell(p, l.table(), lie.AppendTo(b))
	}
}
