package lockservice

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Query asks for a page of the locks that are held or waited for, in the order of their names.
type Query struct {
	After string // this name, "" from the first on
	Skip  string // names that begin with it, if not ""
	Only  string // this lock alone, if not ""
	Most  int    // locks of a page: 1 to MaxPage
}

// Limits of a survey.
const (
	MaxPage        = 1000
	MaxClientBytes = 128 // the name of a client

	maxListed  = 256      // clients of one lock that one peer names
	pageBytes  = 64 << 10 // that one peer tells, about
	clientSize = 64       // bytes of one client on the wire, about
	muteFor    = 2 * time.Second
)

// Client is who holds a lock through a peer, or waits for it there.
type Client struct {
	Peer   string
	Name   string // as Call.Client says; "" if nobody said, or the peer does not answer
	Mode   Mode
	Token  uint64        // 0 while it waits
	For    time.Duration // since it asked; 0 once it holds
	Left   time.Duration // of what is on record of its lease, which outlasts that a little
	Voters int           // of those that answered, that have it on record
}

// Locked is who holds a lock and who waits for it.
type Locked struct {
	Lock    string
	Holders []Client // by token
	Waiting []Client // in the order in which they asked
	More    int      // that wait, or hold, and are not listed
}

// Survey is what the peers that answered know together.
type Survey struct {
	Locks   []Locked
	Next    string   // there is more behind this name; "" if not
	Silent  []string // peers that do not answer: their clients are not known
	Certain bool     // a majority of voters has answered
}

// known is what one peer knows of a lock.
type known struct {
	lock    string
	holders []Holder // on record at this voter
	clients []Client // its own; of other peers those that wait in the queue of this owner
	more    int      // of its own that are not listed
}

// gather answers a Query with what is known here.
func (n *Node) gather(t Time, m *Message) Message {
	reply := Message{Kind: KnownReply, Round: m.Round}
	if n.Quarantine(t) > 0 {
		reply.Reason = Quarantined
	}
	names := n.pick(t, m)
	of := make(map[string]*known, len(names))
	for _, name := range names {
		k := &known{lock: name, holders: n.certified(t, name)}
		of[name] = k
		if l := n.owner.locks[name]; l != nil {
			for _, w := range l.queue {
				if w.inst.Node != n.cfg.Self {
					k.clients = append(k.clients, Client{Peer: w.inst.Node, Mode: w.mode, For: t.Mono - w.asked})
				}
			}
		}
	}
	n.each(func(c Call, own Client) {
		if k := of[c.Lock]; k != nil {
			own.Peer, own.Name, own.Mode = n.cfg.Self, c.Client, c.Mode
			k.clients = append(k.clients, own)
		}
	}, t)
	most, size := max(1, min(m.Waiting, MaxPage)), 0
	for i, name := range names {
		if i == most || size > pageBytes {
			reply.Lock = names[i-1] // there is more
			break
		}
		k := of[name]
		slices.SortFunc(k.clients, inOrder)
		k.more = max(0, len(k.clients)-maxListed)
		k.clients = k.clients[:len(k.clients)-k.more]
		size += len(name) + (len(k.holders)+len(k.clients))*clientSize
		if len(k.holders)+len(k.clients) > 0 {
			reply.Known = append(reply.Known, *k)
		}
	}
	return reply
}

// survey is a Query that is under way.
type survey struct {
	id      uint64
	ask     Message
	asked   []string // peers
	replies map[string]*Message
	tries   int
	alarm   alarm
}

// survey begins to ask the peers that are up.
func (c *client) survey(t Time, q Query) uint64 {
	c.ids++
	s := &survey{id: c.ids, asked: c.n.live, replies: make(map[string]*Message),
		ask: Message{Kind: Known, Round: c.ids, Lock: q.After, Hint: q.Skip, Waiting: q.Most}}
	if q.Only != "" {
		s.ask.Lock, s.ask.Flags = q.Only, flagOnly
	}
	s.alarm.run = func(t Time) { c.askAll(t, s) }
	c.surveys[s.id] = s
	c.askAll(t, s)
	return s.id
}

func (c *client) askAll(t Time, s *survey) {
	for _, peer := range s.asked {
		if s.replies[peer] == nil {
			c.n.send(peer, s.ask)
		}
	}
	c.n.alarms.set(&s.alarm, t.Mono+c.n.retry(s.tries+2))
	s.tries++
}

// knownReply takes an answer. The survey is over once all have answered, but for those that
// have just left another survey without one.
func (c *client) knownReply(t Time, from string, m *Message) {
	delete(c.mute, from)
	s := c.surveys[m.Round]
	if s == nil || !slices.Contains(s.asked, from) {
		return
	}
	kept := *m
	if m.Epoch == c.n.voters.Epoch && m.Hash != c.n.voters.hash { // its locks are others than ours
		kept = Message{Reason: WrongConfig}
	}
	s.replies[from] = &kept
	if !slices.ContainsFunc(s.asked, func(p string) bool { return s.replies[p] == nil && c.mute[p] <= t.Mono }) {
		c.endSurvey(t, s)
	}
}

// endSurvey reports what the answers say, however many there are.
func (c *client) endSurvey(t Time, s *survey) {
	c.n.alarms.stop(&s.alarm)
	delete(c.surveys, s.id)
	maps.DeleteFunc(c.mute, func(_ string, until time.Duration) bool { return until <= t.Mono })
	for _, peer := range s.asked {
		if s.replies[peer] == nil && c.mute[peer] == 0 {
			c.mute[peer] = t.Mono + muteFor
		}
	}
	c.n.report(Result{ID: s.id, Event: Surveyed, Survey: c.n.conclude(s)})
}

// inOrder puts holders first, by token, and those that wait in the order of their asking.
func inOrder(a, b Client) int {
	waits := func(c Client) int { return cmp.Compare(0, c.Token) } // -1 of a holder
	return cmp.Or(waits(a)-waits(b), cmp.Compare(a.Token, b.Token), cmp.Compare(b.For, a.For), strings.Compare(a.Peer, b.Peer), strings.Compare(a.Name, b.Name))
}

// pick returns the names of a page, sorted, and one more if there is.
func (n *Node) pick(t Time, m *Message) (names []string) {
	if m.Flags&flagOnly != 0 {
		return []string{m.Lock}
	}
	most := max(1, min(m.Waiting, MaxPage))
	n.named(t, func(name string) {
		at, found := slices.BinarySearch(names, name)
		if found || at > most || name <= m.Lock || m.Hint != "" && strings.HasPrefix(name, m.Hint) {
			return
		}
		names = slices.Insert(names, at, name)
		names = names[:min(len(names), most+1)]
	})
	return names
}

// named calls f with the names of locks that are held or waited for as far as is known
// here, some more than once.
func (n *Node) named(t Time, f func(name string)) {
	if n.voter() {
		for name := range n.acceptor.live {
			f(name)
		}
	}
	for name, l := range n.owner.locks {
		if len(l.queue) > 0 {
			f(name)
		}
	}
	n.each(func(c Call, _ Client) { f(c.Lock) }, t)
}

// each calls f with the calls of this peer that hold a lock or wait for one.
func (n *Node) each(f func(Call, Client), t Time) {
	for _, r := range n.client.calls { // in no order
		switch {
		case r.phase == holding && t.Mono < r.deadline:
			f(r.Call, Client{Token: r.token, Left: r.deadline - t.Mono})
		case r.phase == waiting, r.phase == resting:
			f(r.Call, Client{For: t.Mono - r.asked})
		}
	}
	if n.cfg.Behind != nil {
		for c, asked := range n.cfg.Behind {
			f(c, Client{For: t.Mono - asked})
		}
	}
}

// gathered is what the answers say of one lock.
type gathered struct {
	votes   map[Inst]int
	holders map[Inst]Holder
	clients []Client // of peers that answered
	hearsay []Client // of others
	more    int
}

// conclude puts the answers to a survey together.
func (n *Node) conclude(s *survey) *Survey {
	out := &Survey{}
	answers, voters := sortedKeys(s.replies), 0
	for _, peer := range answers {
		m := s.replies[peer]
		if n.voters.index(peer) >= 0 && m.Reason == NoReason {
			voters++
		}
		if m.Lock != "" && (out.Next == "" || m.Lock < out.Next) {
			out.Next = m.Lock
		}
	}
	out.Certain = voters >= n.voters.majority()
	of := make(map[string]*gathered)
	for _, peer := range answers {
		for _, k := range s.replies[peer].Known {
			if out.Next != "" && k.lock > out.Next {
				break
			}
			g := of[k.lock]
			if g == nil {
				g = &gathered{votes: make(map[Inst]int), holders: make(map[Inst]Holder)}
				of[k.lock] = g
			}
			g.add(s, peer, n.voters.index(peer) >= 0, k)
		}
	}
	silent := make(map[string]bool)
	for _, peer := range slices.Concat(s.asked, n.voters.Names) {
		silent[peer] = s.replies[peer] == nil
	}
	missing := len(n.voters.Names) - voters
	for _, name := range sortedKeys(of) {
		l := of[name].locked(name, func(votes int) bool { return !out.Certain || votes+missing >= n.voters.majority() })
		for _, c := range slices.Concat(l.Holders, l.Waiting) {
			silent[c.Peer] = s.replies[c.Peer] == nil
		}
		if len(l.Holders)+len(l.Waiting) > 0 {
			out.Locks = append(out.Locks, l)
		}
	}
	maps.DeleteFunc(silent, func(_ string, is bool) bool { return !is })
	out.Silent = sortedKeys(silent)
	return out
}

// add takes what one peer knows.
func (g *gathered) add(s *survey, peer string, votes bool, k known) {
	for _, h := range k.holders {
		if !votes {
			break
		}
		g.votes[h.Inst]++
		if h.Left >= g.holders[h.Inst].Left {
			g.holders[h.Inst] = h
		}
	}
	for _, c := range k.clients {
		switch {
		case c.Peer == peer:
			g.clients = append(g.clients, c)
		case s.replies[c.Peer] == nil:
			g.hearsay = append(g.hearsay, c)
		}
	}
	g.more += k.more
}

// locked says who holds the lock and who waits. What holds was certified by voters that may
// make a majority; where too few have answered, by any, or its own peer says so.
func (g *gathered) locked(name string, may func(votes int) bool) Locked {
	l := Locked{Lock: name, More: g.more}
	for inst, h := range g.holders { // sorted below
		if may(g.votes[inst]) {
			l.Holders = append(l.Holders, Client{Peer: inst.Node, Mode: h.Mode, Token: h.Token, Left: h.Left, Voters: g.votes[inst]})
		}
	}
	slices.SortStableFunc(g.clients, func(a, b Client) int { return cmp.Compare(a.Left, b.Left) })
	for _, c := range g.clients {
		at := slices.IndexFunc(l.Holders, func(h Client) bool { return h.Token == c.Token })
		switch {
		case c.Token == 0:
			l.Waiting = append(l.Waiting, c)
		case at >= 0: // of several peers that renewed it the last
			l.Holders[at].Peer, l.Holders[at].Name = c.Peer, c.Name
		case may(0):
			l.Holders = append(l.Holders, c)
		}
	}
	l.Waiting = append(l.Waiting, g.hearsay...)
	slices.SortFunc(l.Holders, inOrder)
	slices.SortFunc(l.Waiting, inOrder)
	return l
}
