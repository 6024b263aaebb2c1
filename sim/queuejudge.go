package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// itemFate is what happened to one item, as nobody in the run can know it.
type itemFate struct {
	queue, id string
	writes    []*deed  // that enqueued it
	claims    []holder // that were handed out, in their order
	token     uint64   // of the claim that completed it validly
	deed      *deed    // and what that wrote
}

// holder is a worker while it has one claim.
type holder struct {
	*worker
	has *queue.Claim
}

// lasts reports whether the holder takes itself for one.
func (h holder) lasts() bool {
	p := h.q.shop.p
	return p.up && p.work == h.q.shop && h.claim == h.has && h.lease.left() > 0
}

// done reports whether the item was completed validly, and somebody who has heard of it
// has not died since.
func (f *itemFate) done() bool { return f.deed != nil && f.deed.promised }

func (j *judge) fate(q *workQueue, id string) *itemFate {
	key := queue.ItemKey(q.name, id)
	f := j.items[key]
	if f == nil {
		f = &itemFate{queue: q.name, id: id}
		if j.items == nil {
			j.items = map[string]*itemFate{}
		}
		j.items[key] = f
	}
	return f
}

// keeps reports whether peers remember what they have acknowledged.
func (j *judge) keeps() bool { return !j.cloned && !j.torn }

// forgot reports whether the only voter has lost a deed with its memory: nobody else
// certifies claims, so that it goes on at once.
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
	p.r.Store().Keys(func(key string, _ crdt.Entry, _ bool) bool {
		if strings.HasPrefix(key, prefix) {
			e, ok := p.Get(key)
			done = done || ok && e.Value().Field("state").Any() == "done"
		}
		return !done
	})
	return done
}

// enqueued demands that an id is not taken again by who knew it to be taken; what its
// disk has not taken yet it need not know.
func (j *judge) enqueued(q *workQueue, id string, known bool) {
	f, p := j.fate(q, id), q.shop.p
	if known && !p.held() {
		j.violate(p.index, "W6: %s enqueues %s/%s, which it knows", p.name, q.name, id)
	}
	f.writes = append(f.writes, j.deeds[len(j.deeds)-1])
}

// takes demands that a peer tries no item before another that is due, that it knows and
// has not tried, and that nobody has claimed: by priority, and by age as long as there
// are no rivals, among whom each begins with its own share.
func (j *judge) takes(w *worker) {
	q, p := w.q, w.q.shop.p
	q.tried[w.claim.ID] = true
	if p.held() {
		return // its store may be ahead of what was told
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

// claims notes that a peer writes that it claims something, or says what became of it:
// whoever reads that takes it for a rival.
func (j *judge) claims(q *workQueue) {
	if j.claimants == nil {
		j.claimants = map[string][]*Peer{}
	}
	if list := j.claimants[q.name]; !slices.Contains(list, q.shop.p) {
		j.claimants[q.name] = append(list, q.shop.p)
	}
}

// rank is an item's place in its queue, by what the store of a peer holds.
type rank struct {
	priority, due int64
	stamp         clock.Timestamp
}

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

// begins demands that an item is handed out to one worker at a time, and never after it
// was completed validly.
func (j *judge) begins(w *worker) {
	f, p := j.fate(w.q, w.claim.ID), w.q.shop.p
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

// concludes demands that one of an item's completions is valid, and that of its last
// holder.
func (j *judge) concludes(w *worker, valid bool) {
	f, p := j.fate(w.q, w.claim.ID), w.q.shop.p
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

// queueBound is within which time every item is finished, once all agree and workers are
// at all peers.
const queueBound = 5 * time.Minute

// work has workers at every peer, until every item that somebody has who lived on is
// done or dead, and all agree on that.
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
	for c.now < until && !c.Converged() { // what was under way
		c.Run(min(100*time.Millisecond, until-c.now))
	}
	if j.cloned {
		return
	}
	for _, key := range sortedKeys(j.items) {
		f := j.items[key]
		for _, p := range c.peers {
			state, token := f.at(p)
			if f.promised() && state != queue.Done && state != queue.Dead {
				j.violate(p.index, "W4: %s is %q on %s, %v after everything is well", key, state, p.name, c.now-began)
			}
			if f.done() && j.keeps() && (state != queue.Done || token != f.token) {
				j.violate(p.index, "W2: %s was completed by the claim %d, and is %q by %d on %s", key, f.token, state, token, p.name)
			}
		}
	}
}

// at returns what a peer says of the item, and the token of the claim that says so.
func (f *itemFate) at(p *Peer) (queue.State, uint64) {
	v, _ := p.work.queue(f.queue).core.Look(p.wall(), f.id)
	return v.State, v.Token
}

// promised reports whether somebody has the item who lived on.
func (f *itemFate) promised() bool {
	return slices.ContainsFunc(f.writes, func(d *deed) bool { return d.promised })
}

// finished reports whether every item that was promised is done or dead everywhere.
func (j *judge) finished() bool {
	for _, key := range sortedKeys(j.items) { // to look moves what is due
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
