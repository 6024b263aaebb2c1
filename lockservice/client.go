package lockservice

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// client is the role that acquires locks. It makes instances, keeps them alive by rounds, and
// ends them. Maps with a uint64 key are keyed by the ID of the call.
type client struct {
	n           *Node
	calls       map[uint64]*request
	current     map[Inst]*request // the requests of calls, except those in phase resting, which have no instance
	departing   departures
	ended       recent // the latest instances that were released here
	inspections map[uint64]*inspection
	surveys     map[uint64]*survey
	polls       map[uint64]*poll
	mute        map[string]time.Duration // peers that did not answer a survey, and until when no survey waits for them
	names       *rand.ChaCha8            // source of instances: nobody may guess the next one
	ids         uint64                   // the latest ID of a call
	bundles     bundles
}

type phase uint8

const (
	waiting  phase = iota // its instance waits in the queue of an owner
	resting               // a split vote ended its instance; the next one is made after a pause
	resuming              // it takes over a lease of another peer, or of an earlier life of this one
	holding               // it holds the lock until its deadline
)

// request is one call that waits or holds.
type request struct {
	Call
	id        uint64
	phase     phase
	inst      Inst
	round     uint64        // number of the present round
	anchors   [4]anchor     // when the four latest rounds were sent, at index round%4
	asked     time.Duration // when the caller asked, which orders queues
	nextRound time.Duration // when the next round begins
	resend    time.Duration // when the present round is sent again, unless it is answered
	tries     int           // how often the present round was sent
	via       string        // the voter to ask; "" for the owner by the view
	insist    bool          // the voter via is not to redirect the request
	answered  bool          // an owner has answered the present round
	heard     bool          // an owner has answered any round
	splits    int           // split votes so far, which lengthen the pause
	token     uint64
	deadline  time.Duration
	status    status // the latest answer
	membership
	alarm alarm
}

// status is what an owner answered to a round other than Granted. Its fields are those of the Message.
type status struct {
	reason            Reason
	reachable, needed int
	holder            string // name of the holder's peer
	left              time.Duration
	epoch             uint64
}

// anchor is when a round was first sent. A lease that the round grants counts from then (C1):
// only a later time would outlast the records of the acceptors.
type anchor struct {
	round uint64
	at    time.Duration
}

const rememberEnded = 4096 // capacity of client.ended

func newClient(n *Node) client {
	seed := n.cfg.Secret
	for i, b := range n.cfg.Boot {
		seed[i] ^= b
	}
	binary.LittleEndian.PutUint64(seed[24:], binary.LittleEndian.Uint64(seed[24:])^hash64(n.cfg.Self))
	return client{n: n, calls: make(map[uint64]*request), current: make(map[Inst]*request), ended: newRecent(rememberEnded),
		departing: newDepartures(n), inspections: make(map[uint64]*inspection), surveys: make(map[uint64]*survey), polls: make(map[uint64]*poll), mute: make(map[string]time.Duration), names: rand.NewChaCha8(seed), bundles: newBundles(n)}
}

func (c *client) call(t Time, call Call) *request {
	c.ids++
	r := &request{Call: call, id: c.ids, asked: t.Mono - call.Waited}
	r.alarm.run = func(t Time) { c.wake(t, r) }
	c.calls[r.id] = r
	return r
}

func (c *client) acquire(t Time, call Call) uint64 {
	r := c.call(t, call)
	c.begin(t, r)
	return r.id
}

// begin makes a new instance for a call and starts its first round.
func (c *client) begin(t Time, r *request) {
	r.phase, r.round = waiting, 0
	r.inst = Inst{Node: c.n.cfg.Self, Boot: c.n.cfg.Boot, N: max(c.names.Uint64(), 1)}
	c.current[r.inst] = r
	c.newRound(t, r)
}

// resume begins a call for an instance that a majority of voters is to have on record.
func (c *client) resume(t Time, b Bearer, client string) (id uint64) {
	r := c.call(t, Call{Lock: b.Lock, Mode: b.Mode, TTL: b.TTL, Bearer: true, Client: client})
	r.phase, r.inst, r.token = resuming, b.Inst, b.Token
	r.round = max(c.names.Uint64()>>32, 1) << 32 // differs from the rounds of every other peer; see after
	c.current[r.inst] = r
	c.newRound(t, r)
	return r.id
}

// flags returns the flags of a Renew or a Release of r's instance.
func (r *request) flags() (flags uint8) {
	if r.Bearer && r.phase >= resuming {
		flags = flagBearer
	}
	if r.phase == resuming {
		flags |= flagResume
	}
	return flags
}

// newRound starts a round, from which a grant will count (C3).
func (c *client) newRound(t Time, r *request) {
	r.round++
	r.anchors[r.round%uint64(len(r.anchors))] = anchor{r.round, t.Mono}
	r.tries, r.answered = 0, false
	r.nextRound = c.nextRound(t, r.TTL)
	if r.phase == holding && !r.Bearer && r.bundle == nil {
		c.bundles.assign(r)
	}
	c.post(t, r)
}

// post sends the present round to the owner. wake repeats it unchanged until an answer comes.
func (c *client) post(t Time, r *request) {
	to := r.via
	if to == "" {
		to = c.n.owners[shardOf(r.Lock)]
	}
	if to != "" {
		m := Message{Kind: Acquire, Lock: r.Lock, Inst: r.inst, Round: r.round, TTL: r.TTL, Mode: r.Mode, Waited: t.Mono - r.asked}
		if r.phase >= resuming {
			m.Kind, m.Token, m.Flags = Renew, r.token, r.flags()
			if r.bundle != nil {
				m.Bundle = r.bundle.name.N
			}
		}
		if r.Try {
			m.Flags |= flagTry
		}
		if r.insist {
			m.Flags |= flagInsist
		}
		c.n.send(to, m)
	}
	r.resend = t.Mono + c.n.retry(r.tries)
	r.tries++
	c.schedule(r)
}

// schedule sets the alarm of r to the first of next round, repetition and deadline.
func (c *client) schedule(r *request) {
	at := r.nextRound
	if r.joined {
		at = r.end()
	}
	if !r.answered {
		at = min(at, r.resend)
	}
	if r.phase == holding {
		at = min(at, r.end())
	}
	c.n.alarms.set(&r.alarm, at)
}

// margin is how long before its deadline a lease ends for its holder, which needs time to stop.
func margin(ttl time.Duration) time.Duration { return max(ttl/20, 50*time.Millisecond) }

// end returns when the lease of r ends for its holder.
func (r *request) end() time.Duration { return r.deadline - margin(r.TTL) }

// wake does what is due for r. The end of a lease comes before everything else but a rest (C2).
func (c *client) wake(t Time, r *request) {
	switch {
	case r.phase == resting:
		c.begin(t, r)
	case r.phase == holding && t.Mono >= r.end():
		c.expire(t, r)
	case t.Mono >= r.nextRound && r.Try && r.phase == waiting:
		c.refuse(t, r, c.undecided(r))
	case r.joined && r.answered:
		c.schedule(r)
	case t.Mono >= r.nextRound && r.Bearer && r.phase == holding && r.answered:
		r.nextRound = r.end() // only Renew starts another round
		c.schedule(r)
	case t.Mono >= r.nextRound:
		c.newRound(t, r)
	case !r.answered && t.Mono >= r.resend:
		if r.tries%4 == 0 {
			r.detour(c.n)
		}
		c.post(t, r)
	default:
		c.schedule(r)
	}
}

// detour has r ask the next voter in the ranking of its shard: the owner may have died without
// the view showing it yet, and any voter can serve.
func (r *request) detour(n *Node) {
	ranked := ranking(shardOf(r.Lock), n.liveVoters)
	if len(ranked) == 0 {
		return
	}
	at := max(slices.Index(ranked, r.via), 0)
	r.via, r.insist = ranked[(at+1)%len(ranked)], true
}

// reroute sends open requests and releases to the owners of a new view or a new list of voters.
func (c *client) reroute(t Time) {
	for _, id := range sortedKeys(c.calls) {
		r := c.calls[id]
		r.via, r.insist = "", false
		if r.phase != resting && (r.phase == waiting || !r.answered) {
			r.tries = 0
			c.post(t, r)
		}
	}
	for _, inst := range sortedInsts(c.departing.open) {
		c.departing.send(t, c.departing.open[inst])
	}
}

// granted handles a Granted: the lease lasts for its TTL from the moment when the granted round
// was first sent (C1). A round whose anchor has been overwritten grants nothing.
func (c *client) granted(t Time, from string, m *Message) {
	r := c.current[m.Inst]
	if r == nil { // C5; an instance that was not released here may be held by its bearer elsewhere
		if c.departing.open[m.Inst] == nil && c.ended.has(m.Inst) {
			c.n.send(from, Message{Kind: Release, Lock: m.Lock, Inst: m.Inst})
		}
		return
	}
	if r.phase == holding && t.Mono >= r.end() { // C2
		c.expire(t, r)
		return
	}
	sent := r.anchors[m.Round%uint64(len(r.anchors))]
	deadline := sent.at + r.TTL
	if sent.round != m.Round || deadline-margin(r.TTL) <= t.Mono {
		return
	}
	if r.phase == holding || !r.heard { // otherwise the answer was late because others held the lock
		c.measure(t, from, r, m.Round)
	}
	r.answered = r.answered || m.Round == r.round
	r.heard = true
	if r.phase == holding {
		r.deadline = max(r.deadline, deadline)
		if m.Round == r.round && r.bundle != nil {
			c.bundles.part(r) // the token on record may be another
			r.recorded = m.Token
			c.bundles.join(t, r)
		}
		c.n.report(Result{ID: r.id, Event: Extended, Token: r.token, End: r.end(), Deadline: r.deadline, Round: m.Round})
	} else {
		r.phase, r.token, r.deadline = holding, m.Token, deadline
		c.n.report(Result{ID: r.id, Event: Acquired, Token: r.token, End: r.end(), Deadline: r.deadline, Inst: r.inst})
	}
	c.schedule(r)
}

// measure adds the time of an answer to the estimate of the round-trip time, for which a peer that
// is no voter has no other source. A repeated round counts as at most four round trips or 20 ms.
func (c *client) measure(t Time, from string, r *request, round uint64) {
	if from != c.n.cfg.Self && round == r.round && !r.answered {
		took := t.Mono - r.anchors[round%uint64(len(r.anchors))].at
		c.n.measure(min(took, max(4*c.n.rtt, 20*time.Millisecond)))
	}
}

// answer handles every answer of an owner to the present round other than Granted.
func (c *client) answer(t Time, from string, m *Message) {
	r := c.current[m.Inst]
	if r == nil || m.Round != r.round {
		return
	}
	c.measure(t, from, r, m.Round)
	r.answered, r.heard = true, true
	r.status = status{reason: m.Reason, holder: m.Holder.Node, left: m.Left, reachable: m.Reachable, needed: m.Needed, epoch: m.Epoch}
	switch {
	case m.Kind == Redirect:
		r.answered, r.via, r.insist = false, m.Hint, true
		c.post(t, r)
		return
	case m.Kind == Queued:
	case r.phase == holding && m.Reason == Overtaken:
		c.lose(t, r, ErrConflict)
		return
	case r.phase == holding && m.Reason == Gone:
		c.lose(t, r, ErrReleased)
		return
	case r.phase == holding: // the lease is renewed again until its deadline
	case r.phase == resuming && m.Reason == WrongEpoch: // the round is sent again
	case m.Reason == Split && r.Try && t.Mono-r.asked > r.TTL/3:
		c.refuse(t, r, c.undecided(r))
		return
	case m.Reason == Split || m.Reason == WrongEpoch:
		c.rest(t, r)
		return
	default:
		c.refuse(t, r, c.refusal(r, m))
		return
	}
	c.schedule(r)
}

// knows reports whether an instance is one of this client's, or was lately.
func (c *client) knows(inst Inst) bool {
	return c.current[inst] != nil || c.departing.open[inst] != nil || c.ended.has(inst)
}

// depart ends the instance of r for good and has it released from the time from on (C4). With told
// the call gets a Left.
func (c *client) depart(t Time, r *request, from time.Duration, told bool) {
	delete(c.current, r.inst)
	c.ended.add(r.inst)
	c.departing.begin(t, r, from, told)
}

// rest ends the instance of r and has wake make another after a random pause (C6). The call keeps
// its position, since queues are ordered by when a caller asked first.
func (c *client) rest(t Time, r *request) {
	c.depart(t, r, t.Mono, false)
	r.phase = resting
	most := min(c.n.retry(min(r.splits, 8)), r.TTL/4)
	r.splits++
	c.n.alarms.set(&r.alarm, t.Mono+most/4+time.Duration(c.n.rng.Int64N(int64(most))))
}

func (c *client) refusal(r *request, m *Message) error {
	switch m.Reason {
	case TooLong:
		return &TTLError{TTL: r.TTL, Least: LeastTTL, Most: m.Left}
	case WrongConfig:
		return &MismatchError{Lock: r.Lock, Epoch: c.n.voters.Epoch, TheirEpoch: m.Epoch,
			Explanation: "the lists of voters or their limits differ; are two clusters mixed?"}
	case Barred:
		return fmt.Errorf("lock %q: %w", r.Lock, ErrBarred)
	case Full:
		return fmt.Errorf("lock %q: %w", r.Lock, ErrFull)
	case Gone:
		return fmt.Errorf("lock %q: %w: a majority of voters does not know this lease: it was released, or has run out", r.Lock, ErrNotHolder)
	case Overtaken:
		return fmt.Errorf("lock %q: %w: another holds it", r.Lock, ErrNotHolder)
	}
	return &HeldError{Lock: r.Lock, Holder: m.Holder.Node, Left: m.Left}
}

// undecided returns the error of a Try that got no decision within its time.
func (c *client) undecided(r *request) error {
	if err := c.obstacle(r); err != nil {
		return err
	}
	return &HeldError{Lock: r.Lock, Holder: r.status.holder, Left: r.status.left}
}

// obstacle returns why no voters decide on a call, nil if it only waits because others hold the
// lock or asked before it.
func (c *client) obstacle(r *request) error {
	v := c.n.voters
	e := &UnavailableError{Lock: r.Lock, Reachable: len(c.n.liveVoters), Needed: v.majority()}
	switch {
	case e.Reachable < e.Needed:
	case !r.heard || !r.answered && r.tries > 4:
	case r.status.reason == NoQuorum:
		e.Reachable, e.Needed, e.Quarantine = r.status.reachable, r.status.needed, r.status.left
	case r.status.reason == WrongEpoch:
		return &MismatchError{Lock: r.Lock, Epoch: v.Epoch, TheirEpoch: r.status.epoch, Explanation: "a change of voters has not reached everybody"}
	default:
		return nil
	}
	return e
}

// refuse ends a call with an error. It does not release a lease to be resumed: its bearer may hold it.
func (c *client) refuse(t Time, r *request, err error) {
	if r.phase != resuming {
		c.depart(t, r, t.Mono, false)
	}
	c.forget(r)
	c.n.report(Result{ID: r.id, Event: Refused, Err: err})
}

// expire ends a lease whose time runs out. Its holder is told now and has the margin to stop in,
// so the lease is released at its deadline (C4).
func (c *client) expire(t Time, r *request) {
	if !r.Bearer {
		c.depart(t, r, r.deadline, false)
	}
	c.lost(r, ErrExpired)
}

// lose ends a lease that the voters do not certify any more. A bearer's lease is not released,
// since the bearer may have renewed it at another peer.
func (c *client) lose(t Time, r *request, cause error) {
	if !r.Bearer {
		c.depart(t, r, t.Mono, false)
	}
	c.lost(r, cause)
}

func (c *client) lost(r *request, cause error) {
	c.forget(r)
	c.n.report(Result{ID: r.id, Event: Lost, Token: r.token, Err: &LostError{Lock: r.Lock, Token: r.token, Cause: cause}})
}

func (c *client) forget(r *request) {
	c.n.alarms.stop(&r.alarm)
	c.bundles.leave(r)
	delete(c.calls, r.id)
	if c.current[r.inst] == r {
		delete(c.current, r.inst)
	}
}

// release ends a call: a waiter gives up, a holder unlocks.
func (c *client) release(t Time, id uint64) error {
	if q := c.inspections[id]; q != nil {
		c.endInspection(q)
		return nil
	}
	if s := c.surveys[id]; s != nil {
		c.endSurvey(t, s)
		return nil
	}
	if p := c.polls[id]; p != nil {
		c.endPoll(t, p)
		return nil
	}
	r := c.calls[id]
	if r == nil {
		c.departing.stopped(t, id)
		return ErrNotHolder
	}
	switch r.phase {
	case holding:
		c.depart(t, r, t.Mono, true)
	case waiting:
		c.depart(t, r, t.Mono, false)
	}
	c.forget(r)
	return nil
}

// leave ends a call and sends nothing: the record at the voters expires, or its bearer renews it
// at another peer.
func (c *client) leave(id uint64) {
	if r := c.calls[id]; r != nil {
		c.forget(r)
	}
}

// shut ends the calls that wait and leaves bearers' leases; other leases go on until released.
func (c *client) shut(t Time) {
	for _, id := range sortedKeys(c.calls) {
		switch r := c.calls[id]; {
		case r.phase != holding:
			_ = c.release(t, id)
		case r.Bearer:
			c.leave(id)
		}
	}
}

// renew starts a round of a lease now; it fails with ErrNotHolder unless the lease is held.
func (c *client) renew(t Time, id uint64) error {
	r := c.calls[id]
	if r == nil || r.phase != holding || t.Mono >= r.end() {
		return ErrNotHolder
	}
	c.newRound(t, r)
	return nil
}
