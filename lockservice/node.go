package lockservice

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Node is the lock service of one peer: client, owner and acceptor in one value machine. It
// reads no clock and sends nothing: calls, packets and time go in, and Ready returns what is
// to be done. It is not safe for concurrent use.
type Node struct {
	cfg      Config
	voters   *electorate
	acceptor *acceptor
	owner    owner
	client   client
	alarms   alarms
	rng      *rand.Rand

	live       []string       // names of the peers that are up, sorted; see SetLive
	liveVoters []string       // the voters among live
	owners     [shards]string // by shard: the first voter of its ranking that is up, "" if none is
	rtt        time.Duration  // estimate of the round-trip time, 0 until one was measured

	local     []Message // messages from this node to itself
	inbox     []Message // memory that Receive reuses
	texts     texts
	out       map[string]*outbox // by peer
	addressed []string           // peers whose outbox is not empty
	results   []Result
	warned    map[string]uint64 // by peer: the hash of the configuration that was reported
	warn      []Warning
	sweep     alarm
	probe     alarm
	stats     Stats
}

// Stats counts what a node has done since it started.
type Stats struct {
	Grants   uint64 // rounds of this owner that a majority certified: grants, and renewals of single leases
	Splits   uint64 // rounds of this owner that ended in a split vote
	Refused  uint64 // rounds that this acceptor refused, those of bundles included
	Messages uint64 // messages received, those of the node to itself included
	Bad      uint64 // packets refused as malformed
	Dropped  uint64 // messages dropped because their sender may not send them or nothing waits for them

	// Only Session.Stats fills the fields below.
	Held       int           // leases held now
	Waiting    int           // callers that wait for a lock now
	Lost       uint64        // leases that ended before they were released
	Lapsed     uint64        // bearers' leases whose time ran out here: whether they go on or were released at another peer is not known
	Quarantine time.Duration // time until this voter certifies leases; 0 if it does, or is no voter
	Fresh      time.Duration // time until this voter has heard of every lease again; 0 if it has, or is no voter
}

// New returns a node that starts its life at t.
func New(cfg Config, t Time) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, hash64(cfg.Self))),
		out: make(map[string]*outbox), warned: make(map[string]uint64)}
	n.acceptor = newAcceptor(cfg, t.Mono, &n.stats)
	n.owner, n.client = newOwner(n), newClient(n)
	n.sweep.run = func(t Time) {
		n.acceptor.sweep(t.Mono)
		n.alarms.set(&n.sweep, t.Mono+n.cfg.MaxTTL/3)
	}
	n.sweep.run(t)
	n.probe.run = n.askAdoption
	n.install(t, cfg.Voters)
	n.SetLive(t, nil)
	return n, nil
}

// install puts a list of voters in force.
func (n *Node) install(t Time, v Voters) {
	n.voters = newElectorate(v, n.cfg)
	n.acceptor.epoch, n.acceptor.hash = n.voters.Epoch, n.voters.hash
	n.voters.adopt(t.Mono, n.cfg.Self)
	if n.voters.Epoch > 1 && !v.BestEffort {
		n.alarms.set(&n.probe, t.Mono)
	}
}

// Call says what to acquire.
type Call struct {
	Lock   string
	Mode   Mode
	TTL    time.Duration
	Try    bool          // the call fails at once if the lock is held
	Bearer bool          // the lease is a bearer's, which only Renew extends: see Node.Resume
	Waited time.Duration // time since the caller first asked, if it did before this call
	Client string        // name of the caller in surveys: up to MaxClientBytes of text, not secret
}

// Acquire asks for a lock. The answer is a Result with the id returned: Acquired,
// or Refused. A waiting call goes on until Release.
func (n *Node) Acquire(t Time, c Call) (id uint64, err error) {
	if err := n.cfg.validateTTL(c.TTL); err != nil {
		return 0, fmt.Errorf("lock %q: %w", c.Lock, err)
	}
	if c.Lock == "" || len(c.Lock) > maxLockBytes {
		return 0, &NameError{c.Lock, fmt.Sprintf("want 1 to %d bytes", maxLockBytes)}
	}
	if err := validateClient(c.Client); err != nil {
		return 0, fmt.Errorf("lock %q: %w", c.Lock, err)
	}
	id = n.client.acquire(t, c)
	n.settle(t)
	return id, nil
}

// Release ends a call. A call that waits gets no Result. A call that holds gets Left once a
// majority has cleared its instance, or its TTL has passed. A survey or a poll gets its
// Result with the answers so far; an inspection gets none. ErrNotHolder says that there is
// no such call. If that is a lease that has run out, Release says that its holder has
// stopped, and the lease is released before its deadline.
func (n *Node) Release(t Time, id uint64) error {
	defer n.settle(t)
	return n.client.release(t, id)
}

// Resume takes over a bearer's lease from another peer, or from an earlier process of this one,
// with the same instance and token. Its round is certified only by voters that have exactly
// this lease on record. The answer is a Result with the returned id: Acquired, or Refused
// with ErrNotHolder if a majority does not have the lease. For a lease that is held or being
// resumed here, Resume returns the id of that call. Other peers that hold the lease are not
// told and may renew it as well. After a Release at any peer no later round is certified.
func (n *Node) Resume(t Time, b Bearer, client string) (id uint64, err error) {
	if err := cmp.Or(b.check(n.cfg), validateClient(client)); err != nil {
		return 0, err
	}
	defer n.settle(t)
	if r := n.client.current[b.Inst]; r != nil && r.Lock == b.Lock && r.token == b.Token {
		return r.id, nil
	}
	if n.client.knows(b.Inst) {
		return 0, fmt.Errorf("lock %q: %w: it was released here, or is no lease on this lock", b.Lock, ErrNotHolder)
	}
	return n.client.resume(t, b, client), nil
}

// Leave ends a call and tells the voters nothing: their record expires, unless another peer
// renews it.
func (n *Node) Leave(id uint64) { n.client.leave(id) }

// Shut begins a stop. Calls that wait end without a Result. Leases of bearers are left (Leave);
// the other leases go on until they are released.
func (n *Node) Shut(t Time) {
	n.client.shut(t)
	n.settle(t)
}

// Renew starts a round for a lease now, besides those that the node starts every third of the
// TTL. The answer is a Result Extended. It fails with ErrNotHolder if the call holds nothing.
func (n *Node) Renew(t Time, id uint64) error {
	defer n.settle(t)
	return n.client.renew(t, id)
}

// Confirm does Renew and returns the number of the round that it starts. Once an Extended has
// this number, or a greater one, a majority of voters has certified the lease after the call.
func (n *Node) Confirm(t Time, id uint64) (round uint64, err error) {
	defer n.settle(t) // which may end the call
	if err := n.client.renew(t, id); err != nil {
		return 0, err
	}
	return n.client.calls[id].round, nil
}

// Inspect asks a majority of voters who holds a lock. The answer is a Result
// Inspected; without a majority there is none until Release.
func (n *Node) Inspect(t Time, lock string) (id uint64) {
	defer n.settle(t)
	return n.client.inspect(t, lock)
}

// Survey asks the peers that are up for a page of the locks that are held or waited for, with
// their holders and waiters. The answer is a Result Surveyed: when every peer has answered
// that is not known to be silent, or at Release with the answers so far.
func (n *Node) Survey(t Time, q Query) (id uint64) {
	defer n.settle(t)
	return n.client.survey(t, q)
}

// Poll asks the voters that are up whether they take part. The answer is a Result Polled: when
// all have answered, or at Release with the answers so far.
func (n *Node) Poll(t Time) (id uint64) {
	defer n.settle(t)
	return n.client.poll(t)
}

// Obstacle returns what keeps a call from its lock or its answer: an *UnavailableError, a
// *MismatchError, or nil if other holders or waiters are all that it waits for.
func (n *Node) Obstacle(id uint64) error {
	if q := n.client.inspections[id]; q != nil {
		return n.client.unread(q)
	}
	if r := n.client.calls[id]; r != nil {
		return n.client.obstacle(r)
	}
	return nil
}

// ObstacleOf returns the Obstacle of the oldest call that waits for a lock.
func (n *Node) ObstacleOf(lock string) error {
	for _, id := range sortedKeys(n.client.calls) {
		if r := n.client.calls[id]; r.Lock == lock && r.phase != holding {
			return n.client.obstacle(r)
		}
	}
	return nil
}

// Deadline returns the times on Mono at which a lease ends for its holder and at the voters, see
// Result; false if the call holds nothing.
func (n *Node) Deadline(id uint64) (end, deadline time.Duration, ok bool) {
	r := n.client.calls[id]
	if r == nil || r.phase != holding {
		return 0, 0, false
	}
	return r.end(), r.deadline, true
}

// Quorum returns how many voters are up in this node's view, and how many make a majority.
func (n *Node) Quorum() (up, needed int) { return len(n.liveVoters), n.voters.majority() }

// SetLive tells the node the names of the peers that are up; its own name need not be among
// them. The view decides whom to ask, and counts towards a quorum only in best-effort mode.
func (n *Node) SetLive(t Time, names []string) {
	names = append(slices.Clone(names), n.cfg.Self)
	slices.Sort(names)
	n.live = slices.Compact(names)
	if n.voters.BestEffort {
		ranked := ranking(shards, n.live)
		n.voters.Names = ranked[:min(3, len(ranked))]
		slices.Sort(n.voters.Names)
		n.owner.restart(t)
		n.client.bundles.renewAll(t)
	}
	n.place()
	n.owner.leave(t)
	n.client.reroute(t)
	n.settle(t)
}

// place computes the owner of each shard from the view.
func (n *Node) place() {
	n.liveVoters = slices.DeleteFunc(slices.Clone(n.live), func(name string) bool { return n.voters.index(name) < 0 })
	for s := range n.owners {
		n.owners[s] = ""
		if ranked := ranking(s, n.liveVoters); len(ranked) > 0 {
			n.owners[s] = ranked[0]
		}
	}
}

// Reload changes the voters while running: by one name and one epoch, and again only when a
// majority has adopted the change before (R3, R4). It fails with ErrVoters, ErrReload or
// ErrConfigMismatch and then changes nothing.
func (n *Node) Reload(t Time, v Voters) error {
	v = v.normal()
	if err := v.validate(); err != nil {
		return err
	}
	if v.Epoch == n.voters.Epoch {
		if newElectorate(v, n.cfg).hash != n.voters.hash && !v.BestEffort {
			return fmt.Errorf("%w: epoch %d has the voters %q, not %q", ErrConfigMismatch, v.Epoch, n.voters.Names, v.Names)
		}
		return nil
	}
	if err := n.voters.follow(t.Mono, v, n.cfg.Quarantine); err != nil {
		return err
	}
	n.install(t, v)
	n.client.forgetReplies()
	n.place()
	n.owner.restart(t)
	n.client.reroute(t)
	n.client.bundles.renewAll(t)
	n.settle(t)
	return nil
}

// follows notes that a voter works by this epoch or a later one, and raises all floors to its
// highest token, since the voters two epochs later need not include any that saw it. The
// voter counts as having adopted the epoch once that token is under the bound on disk, so
// that a restart does not forget it (R5).
func (n *Node) follows(t Time, from string, m *Message) {
	if !n.voters.settled && n.voters.index(from) >= 0 && (m.Epoch > n.voters.Epoch || m.Hash == n.voters.hash) {
		n.acceptor.raiseAll(m.Floor)
		if m.Floor <= n.acceptor.reserved {
			n.voters.adopt(t.Mono, from)
		}
	}
}

// askAdoption asks the voters every second until enough have adopted the epoch.
func (n *Node) askAdoption(t Time) {
	if n.voters.settled {
		return
	}
	for _, name := range n.voters.Names {
		if !n.voters.adopted[name] {
			n.send(name, Message{Kind: Status})
		}
	}
	n.alarms.set(&n.probe, t.Mono+time.Second)
}

// Receive handles a packet from a peer. The transport must have authenticated the name from. A
// malformed packet gives a *PacketError and has no effect. Receive does not keep b.
func (n *Node) Receive(t Time, from string, b []byte) error {
	epoch, hash, list, err := readPacket(b, n.texts.of, n.inbox[:0])
	if err != nil {
		n.stats.Bad++
		return &PacketError{from, err}
	}
	if epoch == n.voters.Epoch && hash != n.voters.hash && n.warned[from] != hash { // R6
		n.warned[from] = hash
		n.warn = append(n.warn, Warning{Peer: from, Epoch: epoch})
	}
	n.inbox = list
	for i := range list {
		n.dispatch(t, from, &list[i])
	}
	n.settle(t)
	clear(list)
	return nil
}

// Tick runs the alarms that are due.
func (n *Node) Tick(t Time) {
	n.alarms.fire(t)
	n.settle(t)
}

// Next returns the time on Mono at which Tick has something to do.
func (n *Node) Next() time.Duration {
	at, _ := n.alarms.next() // the sweep is always set
	return at
}

// Persisted tells the node that s, which came from Ready.Persist, is on disk. From then on it
// acknowledges tokens up to the bound of s.
func (n *Node) Persisted(s State) { n.acceptor.reserved = max(n.acceptor.reserved, s.TokenBound) }

// settle delivers the node's messages to itself until there are none, so that every call ends
// with its effects complete.
func (n *Node) settle(t Time) {
	for i := 0; i < len(n.local); i++ {
		m := n.local[i]
		n.dispatch(t, n.cfg.Self, &m)
	}
	clear(n.local)
	n.local = n.local[:0]
}

// dispatch hands a message to the role it is for.
func (n *Node) dispatch(t Time, from string, m *Message) {
	n.stats.Messages++
	switch m.Kind {
	case Accept:
		n.reply(from, n.acceptor.accept(t, m))
	case Clear:
		n.reply(from, n.acceptor.clear(t, m))
	case Status:
		reply := n.acceptor.status(t, m)
		if l := n.owner.locks[m.Lock]; l != nil {
			reply.Waiting = len(l.queue)
		}
		n.reply(from, reply)
	case Ack:
		n.owner.ack(t, from, m)
	case Nack:
		n.owner.nack(t, from, m)
	case Cleared:
		n.owner.cleared(from, m)
	case StatusReply:
		n.follows(t, from, m)
		n.client.statusReply(t, from, m)
	case Known:
		n.reply(from, n.gather(t, m))
	case KnownReply:
		n.client.knownReply(t, from, m)
	case Keep:
		if m.Inst.Node != from {
			n.stats.Dropped++ // only the client of a bundle may send this
			return
		}
		n.reply(from, n.acceptor.renew(t, m))
	case Kept:
		n.client.bundles.kept(t, from, m)
	case Acquire, Renew, Release:
		if m.Inst.Node != from && (m.Kind == Acquire || m.Flags&flagBearer == 0) {
			n.stats.Dropped++ // only the client of an instance may send this
			return
		}
		n.request(t, from, m)
	default:
		if !n.client.knows(m.Inst) {
			n.stats.Dropped++ // the instance is of an earlier process, or of another peer
			return
		}
		n.answer(t, from, m)
	}
}

func (n *Node) request(t Time, from string, m *Message) {
	switch m.Kind {
	case Acquire:
		n.owner.acquire(t, m)
	case Renew:
		n.owner.renew(t, from, m)
	case Release:
		n.owner.release(t, from, m)
	}
}

func (n *Node) answer(t Time, from string, m *Message) {
	switch m.Kind {
	case Granted:
		n.client.granted(t, from, m)
	case Released:
		n.client.departing.confirmed(m)
	default:
		n.client.answer(t, from, m)
	}
}

func (n *Node) reply(to string, m Message) {
	if m.Kind != 0 {
		n.send(to, m)
	}
}

func (n *Node) voter() bool { return n.voters.index(n.cfg.Self) >= 0 }

// firstGuess is the assumed round-trip time until one was measured.
const firstGuess = 10 * time.Millisecond

// measure adds a round trip to a moving average in which it weighs one eighth.
func (n *Node) measure(d time.Duration) {
	if n.rtt == 0 {
		n.rtt = d
	}
	n.rtt += (d - n.rtt) / 8
}

// retry returns how long to wait for an answer before a message is sent again, if it was sent
// try times before: two round trips, at least 5 ms, doubled with each try, at most 1 s.
func (n *Node) retry(try int) time.Duration {
	return min(max(5*time.Millisecond, 2*cmp.Or(n.rtt, firstGuess))<<min(try, 10), time.Second)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedInsts[V any](m map[Inst]V) []Inst { return slices.SortedFunc(maps.Keys(m), Inst.compare) }
