package lockservice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// client is the role of those who want locks. It makes instances, keeps them alive
// by rounds, and ends them.
type client struct {
	n           *Node
	calls       map[uint64]*request // by call
	current     map[Inst]*request   // but those that rest
	departing   map[Inst]*departure
	ended       recent                   // instances that were released here
	inspections map[uint64]*inspection   // by call
	surveys     map[uint64]*survey       // likewise
	polls       map[uint64]*poll         // likewise
	mute        map[string]time.Duration // peers that answered no survey: until when none waits for them
	names       *rand.ChaCha8            // makes the instances
	ids         uint64
}

type phase uint8

const (
	waiting  phase = iota
	resting        // between instances, after a split vote
	resuming       // the lease of another peer, or of an earlier life
	holding
)

// request is one call that waits or holds.
type request struct {
	Call
	id        uint64
	phase     phase
	inst      Inst
	round     uint64
	anchors   [4]anchor // of the latest rounds
	asked     time.Duration
	nextRound time.Duration
	resend    time.Duration
	tries     int    // sends of this round
	via       string // the voter to ask, if not the one the view names
	insist    bool
	answered  bool // this round was
	heard     bool // some round was
	splits    int
	token     uint64
	deadline  time.Duration
	status    Message // the last answer
	alarm     alarm
}

// anchor is when a round was first sent: what it grants counts from then (C1).
type anchor struct {
	round uint64
	at    time.Duration
}

// departure is a dead instance whose release is not confirmed yet (C4).
type departure struct {
	lock  string
	inst  Inst
	flags uint8
	id    uint64 // the call to report to, 0 for none
	until time.Duration
	tries int
	alarm alarm
}

const rememberEnded = 4096

func newClient(n *Node) client {
	seed := n.cfg.Secret
	for i, b := range n.cfg.Boot {
		seed[i] ^= b
	}
	binary.LittleEndian.PutUint64(seed[24:], binary.LittleEndian.Uint64(seed[24:])^hash64(n.cfg.Self))
	return client{n: n, calls: make(map[uint64]*request), current: make(map[Inst]*request), ended: newRecent(rememberEnded),
		departing: make(map[Inst]*departure), inspections: make(map[uint64]*inspection), surveys: make(map[uint64]*survey), polls: make(map[uint64]*poll), mute: make(map[string]time.Duration), names: rand.NewChaCha8(seed)}
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

// begin gives a call a new instance.
func (c *client) begin(t Time, r *request) {
	r.phase, r.round = waiting, 0
	r.inst = Inst{Node: c.n.cfg.Self, Boot: c.n.cfg.Boot, N: max(c.names.Uint64(), 1)}
	c.current[r.inst] = r
	c.newRound(t, r)
}

// resume begins a call for an instance that a majority of voters is to have on record.
func (c *client) resume(t Time, b Bearer, client string) (id uint64) {
	r := c.call(t, Call{Lock: b.Lock, Mode: b.Mode, TTL: b.TTL, Manual: true, Client: client})
	r.phase, r.inst, r.token = resuming, b.Inst, b.Token
	r.round = max(c.names.Uint64()>>32, 1) << 32 // of no other peer, nor of an earlier time here
	c.current[r.inst] = r
	c.newRound(t, r)
	return r.id
}

// flags are those of what is said of an instance that is held, or was.
func (r *request) flags() (flags uint8) {
	if r.Manual && r.phase >= resuming {
		flags = flagBearer
	}
	if r.phase == resuming {
		flags |= flagResume
	}
	return flags
}

// newRound proves that the instance is alive and anchors what it may be granted
// (C3). Rounds of many leases fall on common moments, so that they share packets.
func (c *client) newRound(t Time, r *request) {
	r.round++
	r.anchors[r.round%uint64(len(r.anchors))] = anchor{r.round, t.Mono}
	r.tries, r.answered = 0, false
	step := min(r.TTL/60, 50*time.Millisecond)
	next := t.Mono + r.TTL/3 - time.Duration(c.n.rng.Int64N(int64(r.TTL/12)))
	r.nextRound = next - next%step + step
	c.post(t, r)
}

// post sends the round to the owner; again, unchanged, until that answers.
func (c *client) post(t Time, r *request) {
	to := r.via
	if to == "" {
		to = c.n.owners[shardOf(r.Lock)]
	}
	if to != "" {
		m := Message{Kind: Acquire, Lock: r.Lock, Inst: r.inst, Round: r.round, TTL: r.TTL, Mode: r.Mode, Waited: t.Mono - r.asked}
		if r.phase >= resuming {
			m.Kind, m.Token, m.Flags = Renew, r.token, r.flags()
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

func (c *client) schedule(r *request) {
	at := r.nextRound
	if !r.answered {
		at = min(at, r.resend)
	}
	if r.phase == holding {
		at = min(at, r.deadline)
	}
	c.n.alarms.set(&r.alarm, at)
}

func (c *client) wake(t Time, r *request) {
	switch {
	case r.phase == resting:
		c.begin(t, r)
	case r.phase == holding && t.Mono >= r.deadline:
		c.lose(t, r, ErrExpired)
	case t.Mono >= r.nextRound && r.Try && r.phase == waiting:
		c.refuse(t, r, c.undecided(r))
	case t.Mono >= r.nextRound && r.Manual && r.phase == holding && r.answered:
		r.nextRound = r.deadline // renewed by Renew only
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

// detour asks the next voter in the order of the shard: the owner may be dead and
// nobody has noticed yet. Any voter can serve.
func (r *request) detour(n *Node) {
	ranked := ranking(shardOf(r.Lock), n.liveVoters)
	if len(ranked) == 0 {
		return
	}
	at := max(slices.Index(ranked, r.via), 0)
	r.via, r.insist = ranked[(at+1)%len(ranked)], true
}

// reroute follows a change of the view.
func (c *client) reroute(t Time) {
	for _, id := range sortedKeys(c.calls) {
		r := c.calls[id]
		r.via, r.insist = "", false
		if r.phase != resting && (r.phase == waiting || !r.answered) {
			r.tries = 0
			c.post(t, r)
		}
	}
	for _, inst := range sortedInsts(c.departing) {
		c.sendRelease(t, c.departing[inst])
	}
}

// granted takes a Granted (C1). What counts is when exactly that round was sent.
func (c *client) granted(t Time, from string, m *Message) {
	r := c.current[m.Inst]
	if r == nil { // C5, but what a bearer may hold elsewhere
		if c.departing[m.Inst] == nil && c.ended.has(m.Inst) {
			c.n.send(from, Message{Kind: Release, Lock: m.Lock, Inst: m.Inst})
		}
		return
	}
	if r.phase == holding && t.Mono >= r.deadline { // C2
		c.lose(t, r, ErrExpired)
		return
	}
	sent := r.anchors[m.Round%uint64(len(r.anchors))]
	deadline := sent.at + r.TTL
	if sent.round != m.Round || deadline <= t.Mono {
		return
	}
	if r.phase == holding || !r.heard { // else it is how long others held the lock
		c.measure(t, from, r, m.Round)
	}
	r.answered = r.answered || m.Round == r.round
	r.heard = true
	if r.phase == holding {
		r.deadline = max(r.deadline, deadline)
		c.n.report(Result{ID: r.id, Event: Extended, Token: r.token, Deadline: r.deadline, Round: m.Round})
	} else {
		r.phase, r.token, r.deadline = holding, m.Token, deadline
		c.n.report(Result{ID: r.id, Event: Acquired, Token: r.token, Deadline: r.deadline, Inst: r.inst})
	}
	c.schedule(r)
}

// measure takes how long an owner took to answer a round: who is no voter learns round
// trips from nobody else. Sends that were lost count too, and no more than a few times
// what is usual.
func (c *client) measure(t Time, from string, r *request, round uint64) {
	if from != c.n.cfg.Self && round == r.round && !r.answered {
		took := t.Mono - r.anchors[round%uint64(len(r.anchors))].at
		c.n.measure(min(took, max(4*c.n.rtt, 20*time.Millisecond)))
	}
}

// answer takes what an owner says to a round that is not granted.
func (c *client) answer(t Time, from string, m *Message) {
	r := c.current[m.Inst]
	if r == nil || m.Round != r.round {
		return
	}
	c.measure(t, from, r, m.Round)
	r.answered, r.heard = true, true
	r.status = *m
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
	case r.phase == holding: // its deadline decides
	case r.phase == resuming && m.Reason == WrongEpoch: // it is asked again
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

// knows reports whether an instance is, or was, one of this client.
func (c *client) knows(inst Inst) bool {
	return c.current[inst] != nil || c.departing[inst] != nil || c.ended.has(inst)
}

// rest ends the instance and makes another after a while (C6). The call keeps its
// place: queues are ordered by who asked first.
func (c *client) rest(t Time, r *request) {
	c.depart(t, r, 0)
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

// undecided is the error of a Try that got no decision.
func (c *client) undecided(r *request) error {
	if err := c.obstacle(r); err != nil {
		return err
	}
	return &HeldError{Lock: r.Lock, Holder: r.status.Holder.Node, Left: r.status.Left}
}

// obstacle returns what keeps a call from its lock, nil if it is others that hold
// it or wait before it.
func (c *client) obstacle(r *request) error {
	v := c.n.voters
	e := &UnavailableError{Lock: r.Lock, Reachable: len(c.n.liveVoters), Needed: v.majority()}
	switch {
	case e.Reachable < e.Needed:
	case !r.heard || !r.answered && r.tries > 4:
	case r.status.Reason == NoQuorum:
		e.Reachable, e.Needed, e.Quarantine = r.status.Reachable, r.status.Needed, r.status.Left
	case r.status.Reason == WrongEpoch:
		return &MismatchError{Lock: r.Lock, Epoch: v.Epoch, TheirEpoch: r.status.Epoch, Explanation: "a change of voters has not reached everybody"}
	default:
		return nil
	}
	return e
}

func (c *client) refuse(t Time, r *request, err error) {
	if r.phase != resuming {
		c.depart(t, r, 0)
	}
	c.forget(r)
	c.n.report(Result{ID: r.id, Event: Refused, Err: err})
}

// lose ends a lease that its holder did not release. A bearer may have gone on with it
// at another peer.
func (c *client) lose(t Time, r *request, cause error) {
	if !r.Manual {
		c.depart(t, r, 0)
	}
	c.forget(r)
	c.n.report(Result{ID: r.id, Event: Lost, Token: r.token, Err: &LostError{Lock: r.Lock, Token: r.token, Cause: cause}})
}

func (c *client) forget(r *request) {
	c.n.alarms.stop(&r.alarm)
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
		return ErrNotHolder
	}
	switch r.phase {
	case holding:
		c.depart(t, r, r.id)
	case waiting:
		c.depart(t, r, 0)
	}
	c.forget(r)
	return nil
}

// leave ends a call and tells nobody: its record is to run out, or to be renewed by who
// has its name.
func (c *client) leave(id uint64) {
	if r := c.calls[id]; r != nil {
		c.forget(r)
	}
}

// shut begins a stop: who waits gives up, and what is held is released by its holder only.
func (c *client) shut(t Time) {
	for _, id := range sortedKeys(c.calls) {
		switch r := c.calls[id]; {
		case r.phase != holding:
			_ = c.release(t, id)
		case r.Manual: // its bearer may go on elsewhere
			c.leave(id)
		}
	}
}

// renew starts a round of a lease now.
func (c *client) renew(t Time, id uint64) error {
	r := c.calls[id]
	if r == nil || r.phase != holding || t.Mono >= r.deadline {
		return ErrNotHolder
	}
	c.newRound(t, r)
	return nil
}

// depart marks the instance of r dead for good, and tells until it is heard (C4).
func (c *client) depart(t Time, r *request, id uint64) {
	delete(c.current, r.inst)
	c.ended.add(r.inst)
	d := &departure{lock: r.Lock, inst: r.inst, flags: r.flags(), id: id, until: t.Mono + r.TTL}
	d.alarm.run = func(t Time) {
		if t.Mono >= d.until {
			c.departed(d, &UnavailableError{Lock: d.lock, Reachable: len(c.n.liveVoters), Needed: c.n.voters.majority(),
				Cause: errors.New("the release was not confirmed; its record expires by itself")})
			return
		}
		c.sendRelease(t, d)
	}
	c.departing[r.inst] = d
	c.sendRelease(t, d)
}

func (c *client) sendRelease(t Time, d *departure) {
	to := c.n.owners[shardOf(d.lock)]
	if d.tries > 2 { // the owner may be dead and nobody has noticed yet
		ranked := ranking(shardOf(d.lock), c.n.liveVoters)
		if len(ranked) > 0 {
			to = ranked[d.tries/3%len(ranked)]
		}
	}
	if to != "" {
		c.n.send(to, Message{Kind: Release, Lock: d.lock, Inst: d.inst, Flags: d.flags})
	}
	c.n.alarms.set(&d.alarm, min(t.Mono+c.n.retry(d.tries), d.until))
	d.tries++
}

func (c *client) released(m *Message) {
	if d := c.departing[m.Inst]; d != nil {
		c.departed(d, nil)
	}
}

func (c *client) departed(d *departure, err error) {
	c.n.alarms.stop(&d.alarm)
	delete(c.departing, d.inst)
	if d.id != 0 {
		c.n.report(Result{ID: d.id, Event: Left, Err: err})
	}
}
