package sim

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip"
)

// network decides what becomes of frames, and who takes whom for alive: the part of
// memberlist, which may lie.
type network struct {
	c       *Cluster
	cuts    links
	blocks  links             // of packets only
	tries   map[uint64]uint64 // attempts of each message
	changes uint64
	twin    clock.Actor // an actor that two peers write as
	twins   *Peer       // the second of them
}

// What memberlist takes, at its default settings.
const (
	detectAtLeast = 5 * time.Second
	detectAtMost  = 15 * time.Second
	helpers       = 8 // through whom a peer may be reached indirectly
	window        = 1 << 20
)

func (n *network) init(c *Cluster) {
	n.c = c
	n.cuts, n.blocks = newLinks(c.cfg.Peers), newLinks(c.cfg.Peers)
	n.tries = map[uint64]uint64{}
}

// links are directions between peers, some of which are set.
type links struct {
	peers, count int
	set          []bool // from*peers+to
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

// reaches reports whether p would find q alive: directly, or through others.
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

// sight is what one peer believes of another: which of its lives it has heard of,
// and whether the last of those is up.
type sight struct {
	from, lives   int
	alive, target bool
}

// changed has every peer find out in its time what is different now.
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

// notice updates what p believes: who has come back, or who is gone.
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
		p.look()
	}
}

// look gives the replica what its peer believes.
func (p *Peer) look() {
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
	p.locks.look()
	p.r.SetMembers(p.wall(), view)
	if !p.held() {
		p.carry()
	}
}

// suspect makes p take q for dead for a while, although it is not.
func (p *Peer) suspect(q *Peer, lasts time.Duration) {
	c := p.c
	if p.suspects == nil {
		p.suspects = map[int]bool{}
	}
	p.suspects[q.index] = true
	c.reached("a suspicion was false")
	c.note(Suspected, p.index, "takes %s for dead", q.name)
	p.look()
	c.agenda.add(c.now+lasts, func() {
		if p.suspects[q.index] {
			delete(p.suspects, q.index)
			p.look()
		}
	})
}

// send decides what becomes of one frame, from what it is.
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
			n.hearLost(p, e, f.between(0, 5*time.Second))
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

// parted notes that one of two twins goes on as somebody else: the identity that they
// had is the other's.
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

// buffer returns an empty one. Frames lie in buffers that are used again, so that who
// keeps a part of one is found out.
func (c *Cluster) buffer() []byte {
	n := len(c.spare)
	if n == 0 {
		return make([]byte, 0, 256)
	}
	b := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return b
}

// recycle takes a buffer back.
func (c *Cluster) recycle(frame []byte) {
	clear(frame)
	c.spare = append(c.spare, frame[:0])
}

// reopen tells the engine, once a bulk frame is through, that more may go.
func (n *network) reopen(p *Peer, e gossip.Envelope, delay time.Duration) {
	life := p.r
	p.c.agenda.add(p.c.now+delay, func() {
		if p.r == life && p.up {
			p.r.Window(e.To, window)
			p.schedule()
		}
	})
}

// hearLost tells the engine that a stream broke.
func (n *network) hearLost(p *Peer, e gossip.Envelope, delay time.Duration) {
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
