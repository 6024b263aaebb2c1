package sim

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// A worker that moves is a process of its own, like an HTTP client. It claims at one peer
// and goes on at another, by the lease of its claim, whether the first peer lives or not.

// hearAgain is how often a peer checks whether it has the record of a claim that goes on there.
const hearAgain = 20 * time.Millisecond

// move has the worker finish at another peer. The claim lapses at the first peer when its
// lease ends.
func (w *worker) move() {
	old, c, from := w.lease, w.claim, w.q.shop
	to := from.p.c.Peer(w.to)
	if old.p.locks != nil && old.p.locks == to.locks && to.locks.calls[old.id] == old {
		w.finish()
		return
	}
	o := &worker{job: job{times: 1, ttl: w.ttl, ending: w.ending, to: w.to}, stage: asking}
	if to.up && !to.paused {
		o.q = to.work.queue(w.q.name)
		o.lease = to.locks.takeOver(old, func(r lockservice.Result) {
			o.q.shop.later(0, func() { o.resumedResult(r, c.ID, c.Token) })
		})
	}
	from.later(max(old.ends-from.p.c.now, 0), func() {
		w.q.do(func(core *queue.Index, now time.Time) { core.Lapse(now, c) })
	})
	w.next()
}

// resumedResult takes a result of the lock service for a lease that goes on here.
func (w *worker) resumedResult(r lockservice.Result, id string, token uint64) {
	switch {
	case r.Event == lockservice.Acquired:
		w.adopt(id, token)
	case w.claim != nil:
		w.hear(r)
	}
}

// adopt finishes the item once this peer has the record of the claim.
func (w *worker) adopt(id string, token uint64) {
	q := w.q
	if w.lease.left() <= 0 {
		return
	}
	q.do(func(core *queue.Index, now time.Time) { w.claim = core.Adopt(now, id, token) })
	if w.claim == nil {
		q.shop.later(hearAgain, func() { w.adopt(id, token) })
		return
	}
	w.stage = working
	q.shop.p.c.reached("a worker went on with its claim at another peer")
	q.shop.p.c.judge.moves(w)
	w.finish()
}

// moves notes that the holder of a claim has moved, and checks that the claim was handed
// out (W1).
func (j *judge) moves(w *worker) {
	j.claims(w.q) // the verdict shows its peer as a rival
	f := j.item(w.q, w.claim.ID)
	for i, h := range f.claims {
		if h.has.Token == w.claim.Token {
			f.claims[i] = holder{w, w.claim}
			return
		}
	}
	j.violate(w.q.shop.p.index, "W1: %s goes on with %s/%s by the claim %d, which was never handed out", w.q.shop.p.name, f.queue, f.id, w.claim.Token)
}
