package lockservice

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Node is the lock service of one peer: client, owner and acceptor in one value
// machine. It reads no clock and sends nothing: calls, packets and time go in, and
// what is to be done comes out of Ready. One caller at a time.
type Node struct {
	cfg      Config
	voters   *electorate
	acceptor *acceptor
	owner    owner
	client   client
	alarms   alarms
	rng      *rand.Rand

	live       []string // by SetLive
	liveVoters []string
	owners     [shards]string // the first living voter of each shard's ranking, or none
	rtt        time.Duration

	local     []Message // to ourselves
	inbox     []Message // scratch of Receive
	texts     texts
	out       map[string]*outbox
	addressed []string // those whose outbox is not empty
	results   []Result
	warned    map[string]uint64
	warn      []Warning
	sweep     alarm
	probe     alarm
	stats     Stats
}

// Stats count what a node has done.
type Stats struct {
	Grants   uint64 // rounds certified here as owner, renewals among them
	Splits   uint64 // rounds that ended in a split vote
	Refused  uint64 // rounds refused here as acceptor
	Messages uint64 // received
	Bad      uint64 // packets refused
	Dropped  uint64 // messages of a kind or from a sender that does not fit

	// Of a Session only.
	Held       int           // leases
	Waiting    int           // callers that wait for a lock
	Lost       uint64        // leases that ended without Unlock
	Quarantine time.Duration // until this voter certifies leases, 0 if it does
	Fresh      time.Duration // until it has heard of every lease again, 0 if it has or is no voter
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
	Try    bool          // refuse at once when it is held
	Manual bool          // extend the lease by Renew only; it is a bearer's, see Node.Resume
	Waited time.Duration // since the caller first asked, if that was before this call
	Client string        // who asks, for those who look: up to MaxClientBytes of text; no secret
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

// Release ends a call: a waiter gives up; a holder unlocks, and hears Left once a
// majority has cleared its instance, or its TTL has passed. It also ends an
// inspection, a survey or a poll.
func (n *Node) Release(t Time, id uint64) error {
	defer n.settle(t)
	return n.client.release(t, id)
}

// Resume takes over for a client a bearer's lease of another peer, or of an earlier life: under the
// same name and token, by a round that only voters certify which have that very lease on
// record. The answer is a Result with the id returned: Acquired, or Refused with
// ErrNotHolder when a majority does not have it. A lease that is held here, or is being
// resumed, keeps its call. Other peers that have it are not told, and may renew it as
// well. A Release anywhere ends it everywhere: no later round is certified.
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

// Leave ends a call without a word to the voters: what they have on record runs out, or
// is renewed by another peer.
func (n *Node) Leave(id uint64) { n.client.leave(id) }

// Shut begins a stop. Calls that wait are given up without a result. The leases of bearers
// are left, and not released; the others are for their holders to release.
func (n *Node) Shut(t Time) {
	n.client.shut(t)
	n.settle(t)
}

// Renew extends a lease now, besides what is done by itself every third of the TTL.
// The answer is a Result Extended.
func (n *Node) Renew(t Time, id uint64) error {
	defer n.settle(t)
	return n.client.renew(t, id)
}

// Confirm is Renew, and returns the number of the round that it begins: once Extended
// bears it, or a greater one, each voter of a majority has certified the lease since.
func (n *Node) Confirm(t Time, id uint64) (round uint64, err error) {
	if err := n.Renew(t, id); err != nil {
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

// Survey asks the peers that are up for a page of the locks that are held or waited for,
// with the clients that hold them and wait. The answer is a Result Surveyed, when all have
// answered that are not known to be mute, or upon Release: then of those that have.
func (n *Node) Survey(t Time, q Query) (id uint64) {
	defer n.settle(t)
	return n.client.survey(t, q)
}

// Poll asks the voters that are up whether they take part. The answer is a Result Polled,
// when all have answered, or upon Release: then of those that have.
func (n *Node) Poll(t Time) (id uint64) {
	defer n.settle(t)
	return n.client.poll(t)
}

// Obstacle says what keeps a call from its lock or its answer: an
// *UnavailableError, a *MismatchError, or nil if it is only that others hold the
// lock or wait before it.
func (n *Node) Obstacle(id uint64) error {
	if q := n.client.inspections[id]; q != nil {
		return n.client.unread(q)
	}
	if r := n.client.calls[id]; r != nil {
		return n.client.obstacle(r)
	}
	return nil
}

// ObstacleOf is Obstacle of the first call that waits for a lock.
func (n *Node) ObstacleOf(lock string) error {
	for _, id := range sortedKeys(n.client.calls) {
		if r := n.client.calls[id]; r.Lock == lock && r.phase != holding {
			return n.client.obstacle(r)
		}
	}
	return nil
}

// Deadline returns until when a call holds its lock, false if it does not.
func (n *Node) Deadline(id uint64) (time.Duration, bool) {
	r := n.client.calls[id]
	if r == nil || r.phase != holding {
		return 0, false
	}
	return r.deadline, true
}

// Quorum returns how many voters are up in this node's view, and how many make a
// majority.
func (n *Node) Quorum() (up, needed int) { return len(n.liveVoters), n.voters.majority() }

// SetLive tells which peers are up, by name; this one is, listed or not. It decides
// whom to ask, and is never part of a quorum but in best-effort mode.
func (n *Node) SetLive(t Time, names []string) {
	names = append(slices.Clone(names), n.cfg.Self)
	slices.Sort(names)
	n.live = slices.Compact(names)
	if n.voters.BestEffort {
		ranked := ranking(shards, n.live)
		n.voters.Names = ranked[:min(3, len(ranked))]
		slices.Sort(n.voters.Names)
		n.owner.restart(t)
	}
	n.place()
	n.owner.leave(t)
	n.client.reroute(t)
	n.settle(t)
}

func (n *Node) place() {
	n.liveVoters = slices.DeleteFunc(slices.Clone(n.live), func(name string) bool { return n.voters.index(name) < 0 })
	for s := range n.owners {
		n.owners[s] = ""
		if ranked := ranking(s, n.liveVoters); len(ranked) > 0 {
			n.owners[s] = ranked[0]
		}
	}
}

// Reload changes the voters while running: one name, one epoch at a time, and the
// next only when the one before has settled. It fails with ErrVoters, ErrReload or
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
	n.settle(t)
	return nil
}

// follows takes a voter's word that it works by our epoch or a later one, and its
// highest token: the voters of two epochs on need not know those of the first. It
// counts once that token is under the bound on disk, so that no restart forgets it (R5).
func (n *Node) follows(t Time, from string, m *Message) {
	if !n.voters.settled && n.voters.index(from) >= 0 && (m.Epoch > n.voters.Epoch || m.Hash == n.voters.hash) {
		n.acceptor.raiseAll(m.Floor)
		if m.Floor <= n.acceptor.reserved {
			n.voters.adopt(t.Mono, from)
		}
	}
}

// askAdoption asks the voters until enough have adopted the epoch.
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

// Receive takes a packet from a peer, whose name the transport vouches for. It
// does not keep b.
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

// Tick does what is due.
func (n *Node) Tick(t Time) {
	n.alarms.fire(t)
	n.settle(t)
}

// Next returns when Tick has something to do.
func (n *Node) Next() time.Duration {
	at, _ := n.alarms.next() // the sweep is always set
	return at
}

// Persisted says that s, from Ready.Persist, is durable.
func (n *Node) Persisted(s State) { n.acceptor.reserved = max(n.acceptor.reserved, s.TokenBound) }

// settle carries messages to ourselves until there are none.
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
	case Acquire, Renew, Release:
		if m.Inst.Node != from && (m.Kind == Acquire || m.Flags&flagBearer == 0) {
			n.stats.Dropped++ // only its client speaks for an instance
			return
		}
		n.request(t, from, m)
	default:
		if !n.client.knows(m.Inst) {
			n.stats.Dropped++ // for an earlier life, or another peer
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
		n.client.released(m)
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

// firstGuess is the round trip as long as none was measured.
const firstGuess = 10 * time.Millisecond

// measure takes a round trip.
func (n *Node) measure(d time.Duration) {
	if n.rtt == 0 {
		n.rtt = d
	}
	n.rtt += (d - n.rtt) / 8
}

// retry returns how long to wait for the answer to the try-th send.
func (n *Node) retry(try int) time.Duration {
	return min(max(5*time.Millisecond, 2*cmp.Or(n.rtt, firstGuess))<<min(try, 10), time.Second)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedInsts[V any](m map[Inst]V) []Inst { return slices.SortedFunc(maps.Keys(m), Inst.compare) }
