package lockservice

import (
	"cmp"
	"slices"
	"time"
)

// Info is the answer to an inspection: the records that a majority of voters has for a lock.
type Info struct {
	Lock    string
	Holders []Holder // instances that hold the lock or may hold it, ordered by token
	Waiting int      // length of the longest queue that a voter which answered keeps for the lock
	Owner   string   // the voter that orders the queue by this peer's view
	Replies int      // number of voters that answered
	Certain bool     // whether a majority agrees on the holders
}

// inspection is a quorum read that is under way.
type inspection struct {
	id      uint64
	lock    string
	replies [MaxVoters]*Message // by index of the voter; answers out of quarantine only
	heard   [MaxVoters]bool     // by index of the voter: any answer
	tries   int
	left    time.Duration // longest quarantine among the answers
	alarm   alarm
}

func (c *client) inspect(t Time, lock string) uint64 {
	c.ids++
	q := &inspection{id: c.ids, lock: lock}
	q.alarm.run = func(t Time) {
		if info := c.read(q, true); info != nil {
			c.inspected(q, info)
			return
		}
		c.ask(t, q)
	}
	c.inspections[q.id] = q
	c.ask(t, q)
	return q.id
}

// ask sends Status to the voters that have not answered.
func (c *client) ask(t Time, q *inspection) {
	for i, name := range c.n.voters.Names {
		if q.replies[i] == nil {
			c.n.send(name, Message{Kind: Status, Lock: q.lock, Round: q.id})
		}
	}
	c.n.alarms.set(&q.alarm, t.Mono+c.n.retry(q.tries))
	q.tries++
}

func (c *client) statusReply(t Time, from string, m *Message) {
	q := c.inspections[m.Round]
	i := c.n.voters.index(from)
	if p := c.polls[m.Round]; p != nil && i >= 0 && m.Lock == majorityProbe {
		c.polled(t, p, i, m)
		return
	}
	if q == nil || i < 0 || m.Lock != q.lock {
		return
	}
	q.heard[i] = true
	if m.Reason == Quarantined {
		q.left = max(q.left, m.Left)
	}
	if m.Reason != NoReason {
		return
	}
	kept := *m
	q.replies[i] = &kept
	if info := c.read(q, false); info != nil {
		c.inspected(q, info)
	}
}

// read evaluates the replies. It returns nil if they are fewer than a majority, and, unless late
// is set, also if a missing reply could still change who holds the lock.
func (c *client) read(q *inspection, late bool) *Info {
	info := &Info{Lock: q.lock, Owner: c.n.owners[shardOf(q.lock)], Certain: true}
	count := make(map[Inst]int)
	seen := make(map[Inst]Holder)
	for _, m := range q.replies {
		if m == nil {
			continue
		}
		info.Replies++
		info.Waiting = max(info.Waiting, m.Waiting)
		for _, h := range m.Holders {
			count[h.Inst]++
			if old, ok := seen[h.Inst]; !ok || h.Left > old.Left {
				seen[h.Inst] = h
			}
		}
	}
	need, missing := c.n.voters.majority(), len(c.n.voters.Names)-info.Replies
	if info.Replies < need {
		return nil
	}
	for inst, n := range count { // sorted below
		if n+missing < need {
			continue // no majority can have it on record
		}
		info.Certain = info.Certain && n >= need
		info.Holders = append(info.Holders, seen[inst])
	}
	if !info.Certain && !late {
		return nil
	}
	slices.SortFunc(info.Holders, byToken)
	return info
}

func byToken(a, b Holder) int { return cmp.Or(cmp.Compare(a.Token, b.Token), a.Inst.compare(b.Inst)) }

func (c *client) inspected(q *inspection, info *Info) {
	c.endInspection(q)
	c.n.report(Result{ID: q.id, Event: Inspected, Info: info})
}

func (c *client) endInspection(q *inspection) {
	c.n.alarms.stop(&q.alarm)
	delete(c.inspections, q.id)
}

// forgetReplies starts the inspections and polls over, since their arrays are indexed by a list
// of voters that has changed.
func (c *client) forgetReplies() {
	for _, q := range c.inspections { // the order does not matter
		q.replies, q.heard = [MaxVoters]*Message{}, [MaxVoters]bool{}
	}
	for _, p := range c.polls { // the order does not matter
		p.heard, p.voting, p.fresh = [MaxVoters]bool{}, [MaxVoters]bool{}, [MaxVoters]time.Duration{}
	}
}

// unread returns the error of an inspection that ends without a majority.
func (c *client) unread(q *inspection) error {
	e := &UnavailableError{Lock: q.lock, Needed: c.n.voters.majority(), Quarantine: q.left}
	for i, name := range c.n.voters.Names {
		if q.replies[i] != nil {
			e.Reachable++
		}
		if !q.heard[i] {
			e.Silent = append(e.Silent, name)
		}
	}
	return e
}

// Recorded returns what this peer alone knows of a lock, as a voter, as the owner of its queue and
// as a client that holds it. It sends nothing, and Certain is always false.
func (n *Node) Recorded(t Time, lock string) Info {
	info := Info{Lock: lock, Owner: n.owners[shardOf(lock)]}
	info.Holders = n.certified(t, lock)
	if l := n.owner.locks[lock]; l != nil {
		info.Waiting = len(l.queue)
	}
	for _, r := range n.client.calls { // sorted below
		on := slices.ContainsFunc(info.Holders, func(h Holder) bool { return h.Inst == r.inst })
		if r.Lock == lock && r.phase == holding && !on {
			info.Holders = append(info.Holders, Holder{Inst: r.inst, Mode: r.Mode, Token: r.token, Left: r.deadline - t.Mono})
		}
	}
	slices.SortFunc(info.Holders, byToken)
	return info
}

// certified returns the holders that this voter has on record, ordered by token: none during its
// quarantine, and none if this peer is no voter.
func (n *Node) certified(t Time, lock string) []Holder {
	if !n.voter() {
		return nil
	}
	list := n.acceptor.status(t, &Message{Lock: lock}).Holders
	slices.SortFunc(list, byToken)
	return list
}
