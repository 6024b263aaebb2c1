package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// itemHistory is the true history of one item, which no peer of the run knows whole.
type itemHistory struct {
	queue, id string
	writes    []*deed  // the writes that enqueued it
	claims    []holder // the claims that were handed out, in their order
	token     uint64   // the token of the valid completion
	deed      *deed    // the write of the valid completion; nil if there is none
}

// holder is a worker with one of its claims.
type holder struct {
	*worker
	has *queue.Claim
}

// lasts reports whether the holder takes itself for the holder of the item.
func (h holder) lasts() bool {
	p := h.q.shop.p
	return p.up && p.work == h.q.shop && h.claim == h.has && h.lease.left() > 0
}

// done reports whether the item was completed validly, and a surviving process or disk has
// the completion.
func (f *itemHistory) done() bool { return f.deed != nil && f.deed.promised }

// item returns the history of an item, and begins it if there is none.
func (j *judge) item(q *workQueue, id string) *itemHistory {
	key := queue.ItemKey(q.name, id)
	f := j.items[key]
	if f == nil {
		f = &itemHistory{queue: q.name, id: id}
		if j.items == nil {
			j.items = map[string]*itemHistory{}
		}
		j.items[key] = f
	}
	return f
}

// keeps reports whether peers have kept every write that they acknowledged. W1 and W2
// depend on that.
func (j *judge) keeps() bool { return !j.cloned && !j.torn }

// forgot reports whether a deed was lost with the memory of the only voter. A single voter
// has no other to learn from, and certifies claims at once after its start.
func (j *judge) forgot(p *Peer, d *deed) bool {
	return len(p.voters.Names) == 1 && slices.ContainsFunc(j.c.peers, func(v *Peer) bool {
		all, _ := d.seenIn(v.r.Store().Context())
		return v.name == p.voters.Names[0] && !all
	})
}

// knows reports whether the store of a peer says that an id is taken.
func (q *workQueue) knows(id string) bool {
	p := q.shop.p
	if _, there := p.Get(queue.ItemKey(q.name, id)); there {
		return true
	}
	prefix, done := strings.TrimSuffix(queue.ClaimKey(q.name, id, 0), "0"), false
	p.r.Store().Ascend(crdt.StartingWith(prefix), func(key string, _ crdt.Entry, _ bool) bool {
		e, ok := p.Get(key)
		done = ok && e.Value().Field("state").Any() == "done"
		return !done
	})
	return done
}

// enqueued notes an item, and checks that a peer which knew its id to be taken does not
// take the id again (W6). A peer need not know a write that its disk has not taken yet.
func (j *judge) enqueued(q *workQueue, id string, known bool) {
	f, p := j.item(q, id), q.shop.p
	if known && !p.held() {
		j.violate(p.index, "W6: %s enqueues %s/%s, which it knows", p.name, q.name, id)
	}
	f.writes = append(f.writes, j.deeds[len(j.deeds)-1])
}

// takes checks the order in which a peer tries items (W5): by priority, and by age while no
// other peer claims. With rivals, each peer begins with its own share of the items. The
// check concerns items that are due, that the peer knows and has not tried, and that were
// never claimed.
func (j *judge) takes(w *worker) {
	q, p := w.q, w.q.shop.p
	q.tried[w.claim.ID] = true
	if p.held() {
		return // the store may be ahead of the queue's machine
	}
	taken, ok := q.rank(w.claim.ID)
	if !ok {
		return
	}
	rivals := slices.ContainsFunc(j.claimants[q.name], func(o *Peer) bool { return o != p })
	for _, key := range sortedKeys(j.items) {
		f := j.items[key]
		if f.queue != q.name || len(f.claims) > 0 || q.tried[f.id] {
			continue
		}
		o, ok := q.rank(f.id)
		if ok && o.due <= p.wall().UnixMilli() && (o.priority > taken.priority || !rivals && o.priority == taken.priority && o.stamp < taken.stamp) {
			j.violate(p.index, "W5: %s tries %s/%s before %s", p.name, q.name, w.claim.ID, f.id)
		}
	}
}

// claims notes that a peer writes a claim or a verdict. Every peer that reads the record
// takes the writer for a rival.
func (j *judge) claims(q *workQueue) {
	if j.claimants == nil {
		j.claimants = map[string][]*Peer{}
	}
	if list := j.claimants[q.name]; !slices.Contains(list, q.shop.p) {
		j.claimants[q.name] = append(list, q.shop.p)
	}
}

// rank is an item's position in its queue, by the store of a peer.
type rank struct {
	priority, due int64
	stamp         clock.Timestamp
}

// rank returns the position of an item, and whether the store has it.
func (q *workQueue) rank(id string) (r rank, ok bool) {
	e, ok := q.shop.p.Get(queue.ItemKey(q.name, id))
	if !ok {
		return r, false
	}
	r.priority, _ = e.Value().Field("priority").Any().(int64)
	r.due, _ = e.Value().Field("not_before").Any().(int64)
	r.stamp = e.Stamp()
	return r, true
}

// begins notes that an item is handed out, and checks W1.
func (j *judge) begins(w *worker) {
	f, p := j.item(w.q, w.claim.ID), w.q.shop.p
	switch {
	case !f.done() || !j.keeps():
	case j.forgot(p, f.deed):
		f.deed = nil
	default:
		j.violate(p.index, "W1: %s is handed %s/%s, which was completed", p.name, f.queue, f.id)
	}
	for _, o := range f.claims {
		if o.lasts() {
			j.violate(p.index, "W1: %s is handed %s/%s, which %s has", p.name, f.queue, f.id, o.q.shop.p.name)
		}
	}
	if len(f.claims) > 0 {
		j.c.reached("an item was handed out again")
	}
	f.claims = append(f.claims, holder{w, w.claim})
}

// concludes notes a completion, and checks that it is the only valid one (W2) and that of
// the last holder (W3).
func (j *judge) concludes(w *worker, valid bool) {
	f, p := j.item(w.q, w.claim.ID), w.q.shop.p
	switch {
	case !valid:
		j.c.reached("a worker was told too late that it had finished")
		return
	case w.end.State() != queue.Done:
		return
	}
	if f.done() && j.keeps() {
		j.violate(p.index, "W2: %s completes %s/%s, which was completed", p.name, f.queue, f.id)
	}
	if slices.ContainsFunc(f.claims, func(h holder) bool { return h.has.Token > w.claim.Token }) {
		j.violate(p.index, "W3: %s completes %s/%s, which was handed out again since", p.name, f.queue, f.id)
	}
	f.token, f.deed = w.claim.Token, w.deed
}

// queueBound is the time in which every item must be finished, once all peers agree and
// each has a worker (W4).
const queueBound = 5 * time.Minute

// work starts a worker at every peer, and runs until every item that a surviving process or
// disk has is done or dead, and all peers agree. It then checks W2 and W4.
func (j *judge) work() {
	c, began := j.c, j.c.now
	if len(j.items) == 0 {
		return
	}
	for _, p := range c.peers {
		for _, name := range sortedKeys(p.work.queues) {
			p.work.run((&worker{q: p.work.queue(name), job: job{ttl: 2 * time.Second, ending: "complete"}}).begin)
		}
	}
	until := began + queueBound + c.spread()
	for c.now < until && !j.cloned && !(j.finished() && c.Converged()) {
		c.Run(min(100*time.Millisecond, until-c.now))
	}
	for _, p := range c.peers {
		p.work.closed = true
	}
	for c.now < until && !c.Converged() { // until the last writes have arrived
		c.Run(min(100*time.Millisecond, until-c.now))
	}
	if j.cloned {
		return
	}
	for _, key := range sortedKeys(j.items) {
		f := j.items[key]
		for _, p := range c.peers {
			state, token := f.at(p)
			if f.promised() && j.rots == 0 && state != queue.Done && state != queue.Dead { // a disk that rots may keep the claim and lose the item
				j.violate(p.index, "W4: %s is %q on %s, %v after everything is well", key, state, p.name, c.now-began)
			}
			if f.done() && j.keeps() && (state != queue.Done || token != f.token) {
				j.violate(p.index, "W2: %s was completed by the claim %d, and is %q by %d on %s", key, f.token, state, token, p.name)
			}
		}
	}
}

// at returns the state of the item at a peer, and the token of the claim behind it.
func (f *itemHistory) at(p *Peer) (queue.State, uint64) {
	v, _ := p.work.queue(f.queue).core.Look(p.wall(), f.id)
	return v.State, v.Token
}

// promised reports whether a surviving process or disk has the item.
func (f *itemHistory) promised() bool {
	return slices.ContainsFunc(f.writes, func(d *deed) bool { return d.promised })
}

// finished reports whether every promised item is done or dead on every peer.
func (j *judge) finished() bool {
	for _, key := range sortedKeys(j.items) { // sorted, because Look changes the machine
		f := j.items[key]
		if f.promised() && slices.ContainsFunc(j.c.peers, func(p *Peer) bool {
			state, _ := f.at(p)
			return state != queue.Done && state != queue.Dead
		}) {
			return false
		}
	}
	return true
}
