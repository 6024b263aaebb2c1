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
	After string // the page begins after this name; "" for the first page
	Skip  string // locks whose names begin with it are left out; "" leaves out none
	Only  string // the survey is of this lock alone; "" for all locks
	Most  int    // greatest number of locks of a page: 1 to MaxPage
}

// Limits of a survey.
const (
	MaxPage        = 1000 // greatest number of locks of a page
	MaxClientBytes = 128  // greatest length of a client's name

	maxListed  = 256             // greatest number of clients that one peer lists for one lock
	pageBytes  = 64 << 10        // about the size of one peer's answer at which its page ends
	clientSize = 64              // about the bytes of one client on the wire
	muteFor    = 2 * time.Second // how long no survey waits for a peer that did not answer
)

// Client is one caller that holds a lock, or waits for it.
type Client struct {
	Peer   string // name of the peer through which it calls
	Name   string // Call.Client; "" if it is not set, or the peer does not answer
	Mode   Mode
	Token  uint64        // 0 while it waits
	For    time.Duration // time since it asked; 0 once it holds the lock
	Left   time.Duration // time until the record of its lease expires, a little after the lease itself
	Voters int           // number of voters that answered and have the lease on record
}

// Locked lists the holders and the waiters of a lock.
type Locked struct {
	Lock    string
	Holders []Client // ordered by token
	Waiting []Client // in the order in which they asked
	More    int      // number of clients that are not listed
}

// Survey is a page of locks, as the peers that answered know them together.
type Survey struct {
	Locks   []Locked
	Next    string   // Query.After of the next page; "" if this is the last one
	Silent  []string // names of peers that did not answer, whose clients are not known
	Certain bool     // whether a majority of voters has answered
}

// known is what one peer knows of a lock.
type known struct {
	lock    string
	holders []Holder // records of this peer, if it is a voter
	clients []Client // callers of this peer, and waiters of other peers in its queue as owner
	more    int      // number of clients that are not listed
}

// gather answers a Known with what this peer knows.
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
			reply.Lock = names[i-1] // the next page begins after this name
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

// survey is a Query that waits for answers.
type survey struct {
	id      uint64
	ask     Message
	asked   []string // names of the peers that were asked
	replies map[string]*Message
	tries   int
	alarm   alarm
}

// survey starts a survey of the peers that are up and returns its ID.
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

// knownReply notes an answer. The survey ends once every peer has answered that has not left an
// earlier survey without an answer within muteFor.
func (c *client) knownReply(t Time, from string, m *Message) {
	delete(c.mute, from)
	s := c.surveys[m.Round]
	if s == nil || !slices.Contains(s.asked, from) {
		return
	}
	kept := *m
	if m.Epoch == c.n.voters.Epoch && m.Hash != c.n.voters.hash { // the peer has other voters, and so other locks
		kept = Message{Reason: WrongConfig}
	}
	s.replies[from] = &kept
	if !slices.ContainsFunc(s.asked, func(p string) bool { return s.replies[p] == nil && c.mute[p] <= t.Mono }) {
		c.endSurvey(t, s)
	}
}

// endSurvey reports the answers so far, notes the peers that did not answer, and ends the survey.
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

// inOrder puts holders first, ordered by token, and then waiters in the order in which they asked.
func inOrder(a, b Client) int {
	waits := func(c Client) int { return cmp.Compare(0, c.Token) } // -1 for a holder, 0 for a waiter
	return cmp.Or(waits(a)-waits(b), cmp.Compare(a.Token, b.Token), cmp.Compare(b.For, a.For), strings.Compare(a.Peer, b.Peer), strings.Compare(a.Name, b.Name))
}

// pick returns the names of a page in order, and one name more if there is another page.
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

// named calls f with the names of all locks that this peer knows to be held or waited for, with
// some of them more than once, in no order.
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

// each calls f for every call of this peer that holds a lock or waits for one, in no order.
func (n *Node) each(f func(Call, Client), t Time) {
	for _, r := range n.client.calls { // gather and pick sort
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

// gathered collects what the answers say of one lock.
type gathered struct {
	votes   map[Inst]int    // number of voters that have the instance on record
	holders map[Inst]Holder // the record that expires last
	clients []Client        // clients that their own peers listed
	hearsay []Client        // waiters of peers that did not answer, from the queues of owners
	more    int
}

// conclude combines the answers to a survey.
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

// add adds what one peer knows; votes says whether that peer is a voter.
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

// locked lists the holders and waiters of a lock. An instance counts as a holder if the voters
// that have it on record may be a majority together with those that did not answer, which is
// what the function may decides; if that needs no record at all, the word of its peer suffices.
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
		case at >= 0: // clients are sorted by Left: the peer that renewed a bearer's lease last wins
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
