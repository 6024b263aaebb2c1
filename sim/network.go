package sim

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// network decides the fate of each frame, and which peers each peer takes for alive. In
// the second role it stands for memberlist, and may be wrong.
type network struct {
	c       *Cluster
	cuts    links             // neither packets nor streams pass
	blocks  links             // packets do not pass
	tries   map[uint64]uint64 // how often each message was sent, by its hash
	changes uint64            // how often the network or a process changed
	twin    clock.Actor       // the actor that two peers write as, after a clone
	twins   *Peer             // the second of the two peers, the copy; nil without one
}

// The times and numbers of memberlist at its default settings.
const (
	detectAtLeast = 5 * time.Second
	detectAtMost  = 15 * time.Second
	helpers       = 8       // peers that probe another one for a peer that cannot reach it
	window        = 1 << 20 // bytes of bulk frames that the transport takes at a time
)

func (n *network) init(c *Cluster) {
	n.c = c
	n.cuts, n.blocks = newLinks(c.cfg.Peers), newLinks(c.cfg.Peers)
	n.tries = map[uint64]uint64{}
}

// links is a set of ordered pairs of peers.
type links struct {
	peers, count int    // the peers of the cluster, and the pairs in the set
	set          []bool // by from*peers+to
}

func newLinks(peers int) links { return links{peers: peers, set: make([]bool, peers*peers)} }

func (l *links) put(from, to *Peer, set bool) {
	at := &l.set[from.index*l.peers+to.index]
	switch {
	case from == to || *at == set:
		return
	case set:
		l.count++
	default:
		l.count--
	}
	*at = set
}

func (l *links) has(from, to *Peer) bool { return l.count > 0 && l.set[from.index*l.peers+to.index] }

func (l *links) clear() {
	clear(l.set)
	l.count = 0
}

func (n *network) open(from, to *Peer) bool { return !n.cuts.has(from, to) }

func (n *network) linked(a, b *Peer) bool { return n.open(a, b) && n.open(b, a) }

// reaches reports whether p would find q alive, directly or through a helper.
func (n *network) reaches(p, q *Peer) bool {
	if !q.up || q.paused {
		return false
	}
	if n.linked(p, q) {
		return true
	}
	peers := n.c.peers
	for i := range min(helpers, len(peers)) {
		h := peers[(p.index+1+i)%len(peers)]
		if h != p && h != q && h.up && !h.paused && n.linked(p, h) && n.linked(h, q) {
			return true
		}
	}
	return false
}

// sight is what one peer believes of another one. The peer knows the lives from the
// from-th up to, but not including, the lives-th.
type sight struct {
	from, lives int
	alive       bool // the peer takes the last life that it knows for up
}

// changed plans when each peer finds out who is gone and who is back. It is called after
// each change of a cut or a process.
func (c *Cluster) changed() {
	n := &c.net
	n.changes++
	for _, p := range c.peers {
		if !p.up {
			continue
		}
		var gone, back bool
		for j, q := range c.peers {
			if q == p {
				continue
			}
			s := &p.sees[j]
			reached := n.reaches(p, q)
			gone = gone || s.alive && !reached
			back = back || reached && (!s.alive || s.lives < len(q.lives))
		}
		f := newFate(c.cfg.Seed, n.changes, uint64(p.index))
		life := p.r
		if gone {
			c.agenda.add(c.now+f.between(detectAtLeast, detectAtMost), func() { p.notice(life, false) })
		}
		if back {
			delay := f.between(10*time.Millisecond, 1500*time.Millisecond)
			if f.chance(0.1) {
				c.reached("a peer missed a join")
				delay = f.between(1500*time.Millisecond, 10*time.Second)
			}
			c.agenda.add(c.now+delay, func() { p.notice(life, true) })
		}
	}
}

// notice updates which peers p takes for alive. With back it adds peers that p reaches
// again, otherwise it removes peers that p does not reach. It does nothing once the life
// of p has ended.
func (p *Peer) notice(life any, back bool) {
	if life != any(p.r) || !p.up {
		return
	}
	different := false
	for j, q := range p.c.peers {
		if q == p {
			continue
		}
		s := &p.sees[j]
		reached := p.c.net.reaches(p, q)
		switch {
		case back && reached && (!s.alive || s.lives < len(q.lives)):
			if s.lives == 0 {
				s.from = len(q.lives) - 1
			}
			s.alive, s.lives = true, len(q.lives)
			different = true
			p.hearsOf(q)
		case !back && !reached && s.alive:
			s.alive = false
			different = true
		}
	}
	if different {
		p.setView()
	}
}

// setView gives the replica its view of the members: what its peer believes.
func (p *Peer) setView() {
	if !p.up {
		return
	}
	view := make([]gossip.Peer, 0, len(p.sees))
	p.ignorant = false
	for j, q := range p.c.peers {
		if q == p {
			continue
		}
		s := p.sees[j]
		p.ignorant = p.ignorant || s.lives == 0
		for k := s.from; k < s.lives; k++ {
			view = append(view, gossip.Peer{Actor: q.lives[k], Name: q.name, Alive: k == s.lives-1 && s.alive && !p.suspects[j]})
		}
	}
	if p.c.liar.here {
		view = append(view, gossip.Peer{Actor: p.c.liar.actor, Name: liarName, Alive: true})
	}
	p.locks.setView()
	p.r.SetMembers(p.wall(), view)
	if !p.held() {
		p.carry()
	}
}

// suspect makes p take q for dead for a time, although q may be alive.
func (p *Peer) suspect(q *Peer, lasts time.Duration) {
	c := p.c
	if p.suspects == nil {
		p.suspects = map[int]bool{}
	}
	p.suspects[q.index] = true
	c.reached("a suspicion was false")
	c.note(Suspected, p.index, "takes %s for dead", q.name)
	p.setView()
	c.agenda.add(c.now+lasts, func() {
		if p.suspects[q.index] {
			delete(p.suspects, q.index)
			p.setView()
		}
	})
}

// send decides the fate of one frame, and plans its arrival.
func (n *network) send(p *Peer, e gossip.Envelope) {
	c := n.c
	q := c.owners[e.To]
	if q == nil {
		if e.To == c.liar.actor {
			c.liar.hear(p, e)
		}
		return
	}
	id := digest(uint64(p.index)<<32|uint64(q.index), e.Frame)
	c.hash = (c.hash ^ id ^ uint64(c.now)) * 0x9e3779b97f4a7c15
	n.tries[id]++
	f := newFate(c.cfg.Seed, id, n.tries[id])
	lost := e.Class == gossip.Packet && (f.chance(c.cfg.Loss) || n.blocks.has(p, q))
	if n.twins != nil && e.To == n.twin && n.twins.r.Actor() == n.twin && n.twins != p && f.chance(0.5) {
		q = n.twins
	}
	cut := !n.open(p, q)
	gone := !q.up || q.r.Actor() != e.To
	if c.tracer != nil {
		fate := ""
		switch {
		case cut:
			fate = ", cut off"
		case gone:
			fate = ", nobody there"
		case lost:
			fate = ", lost"
		}
		c.trace("%s to %s %v %d B: %s%s", p.name, q.name, e.Class, len(e.Frame), describe(e.Frame), fate)
	}
	delay := transit(&f)
	if e.Class == gossip.Bulk {
		n.reopen(p, e, delay)
	}
	if lost || cut || gone {
		if e.Class != gossip.Packet && f.chance(0.5) {
			n.reportLost(p, e, f.between(0, 5*time.Second))
		}
		return
	}
	frame, life := e.Frame, q.r
	if c.cfg.Key && e.Class == gossip.Packet {
		frame, life = c.seal(p, q, frameInside, e.Frame), nil
	}
	copies := 1
	if f.chance(c.cfg.Double) {
		copies = 2
	}
	for range copies {
		if c.cfg.Late > 0 && f.below(20) == 0 {
			delay += f.between(0, c.cfg.Late)
			if delay > time.Minute {
				c.reached("a message came minutes late")
			}
		}
		c.agenda.plan(event{at: c.now + delay, to: q, life: life, frame: append(c.buffer(), frame...)})
		delay = f.between(200*time.Microsecond, 20*time.Millisecond)
	}
}

// parted gives the shared actor of two twins to the other twin, once p, one of the two,
// goes on as a new actor.
func (n *network) parted(p *Peer) {
	q := n.twins
	if q == nil || p.r.Actor() == n.twin || !slices.Contains(p.lives, n.twin) && p != q {
		return
	}
	if p != q {
		p.lives = slices.DeleteFunc(p.lives, func(a clock.Actor) bool { return a == n.twin })
		q.lives = append(q.lives, n.twin)
		n.c.owners[n.twin] = q
		for _, o := range n.c.peers {
			o.sees[p.index], o.sees[q.index].alive = sight{}, false
		}
	}
	n.twins = nil
}

// buffer returns an empty buffer for a frame. Buffers are cleared and used again, so that
// a receiver that keeps a part of a frame reads zeros, and an oracle notices.
func (c *Cluster) buffer() []byte {
	n := len(c.spare)
	if n == 0 {
		return make([]byte, 0, 256)
	}
	b := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return b
}

// recycle clears the buffer of a frame and takes it back. The caller gives it up.
func (c *Cluster) recycle(frame []byte) {
	clear(frame)
	c.spare = append(c.spare, frame[:0])
}

// reopen opens the engine's window for the receiver again after delay, when the bulk frame
// e is through.
func (n *network) reopen(p *Peer, e gossip.Envelope, delay time.Duration) {
	life := p.r
	p.c.agenda.add(p.c.now+delay, func() {
		if p.r == life && p.up {
			p.r.Window(e.To, window)
			p.schedule()
		}
	})
}

// reportLost tells the engine of p after delay that the stream of e broke.
func (n *network) reportLost(p *Peer, e gossip.Envelope, delay time.Duration) {
	life := p.r
	p.c.agenda.add(p.c.now+delay, func() {
		if p.r == life && p.up {
			p.r.Lost(p.wall(), e.To)
			if !p.held() {
				p.carry()
			}
		}
	})
}
