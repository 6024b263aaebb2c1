package gossip

import (
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// A list takes away what its sender does not name, so one that is short and a lie empties
// a store. What a peer says is gone beyond a few records, another is asked about first
// (docs/decisions/0030).

const (
	takenAtWord  = 64              // records that a peer's lists take within a minute without a question
	doubtWait    = 2 * time.Second // for an answer, before another peer is asked
	doubtTries   = 3               // peers asked, then the next comparison of sums tells again
	disputeStays = time.Minute     // no question about the same peer's lists after another denied them
)

// absence is what a peer's lists would take, while others are asked.
type absence struct {
	teller clock.Actor
	dots   []clock.Dot
	asked  []clock.Actor // the last owes an answer
	number uint64
	at     time.Time // until when
}

// taken drops what p's lists say is gone: at once if it is little, or nobody else is up;
// what others say is gone too if they are asked.
func (e *Engine) taken(now time.Time, p *peer, dots []clock.Dot) {
	if now.Sub(p.takenSince).Abs() >= time.Minute {
		p.taken, p.takenSince = 0, now
	}
	alone := len(e.living) == 1 && e.living[0] == p
	switch {
	case len(dots) == 0:
	case alone || p.taken+len(dots) <= takenAtWord:
		p.taken += len(dots)
		e.drop(now, p.Actor, dots)
	case e.absence == nil && !now.Before(p.disputed):
		e.stats.ListsDoubted++
		e.questions++
		e.absence = &absence{teller: p.Actor, dots: dots[:min(len(dots), dotsAFrame)], number: e.questions}
		e.askHolder(now)
	}
}

func (e *Engine) drop(now time.Time, teller clock.Actor, dots []clock.Dot) {
	for _, d := range dots {
		e.store.Drop(d, teller, clock.TimestampAt(now))
	}
	e.touch(now)
}

// askHolder asks one who was not asked yet which of the records in doubt are gone; the
// doubt ends, and nothing is dropped, when nobody is left.
func (e *Engine) askHolder(now time.Time) {
	d := e.absence
	others := slices.DeleteFunc(slices.Clone(e.living), func(q *peer) bool {
		return q.Actor == d.teller || slices.Contains(d.asked, q.Actor)
	})
	if len(others) == 0 || len(d.asked) >= doubtTries {
		e.absence = nil
		return
	}
	p := others[e.rng.IntN(len(others))]
	d.asked, d.at = append(d.asked, p.Actor), now.Add(doubtWait)
	e.send(now, p, Bulk, e.goneFrame(true, d.number, d.dots))
}

func (e *Engine) goneFrame(asks bool, number uint64, dots []clock.Dot) []byte {
	w := e.begin()
	w.section(secGone, 2+2*len(dots))
	w.bool(asks)
	w.uint(number)
	for _, d := range dots {
		w.dot(d)
	}
	return e.finish(w, 0, false)
}

// gone answers which of the records asked about this peer has seen and holds no more, or
// takes such an answer: two say so then.
func (in *incoming) gone(r *wire.Reader, n int) {
	e := in.e
	asks, number := r.Bool(), r.Uint()
	if n < 2 || n%2 != 0 || n/2-1 > dotsAFrame {
		r.Fail("gone")
	}
	var dots []clock.Dot
	for i := 0; i < n/2-1 && r.Err() == nil; i++ {
		dots = append(dots, in.dot(r))
	}
	if r.Err() != nil || in.from == nil {
		return
	}
	if asks {
		dots = slices.DeleteFunc(dots, func(d clock.Dot) bool { return e.store.Holds(d) || !e.store.Context().Contains(d) })
		e.send(in.now, in.from, Bulk, e.goneFrame(false, number, dots))
		return
	}
	d := e.absence
	if d == nil || d.number != number || d.asked[len(d.asked)-1] != in.from.Actor {
		return
	}
	e.absence = nil
	told := make(map[clock.Dot]bool, len(dots))
	for _, x := range dots {
		told[x] = true
	}
	both := slices.DeleteFunc(slices.Clone(d.dots), func(x clock.Dot) bool { return !told[x] })
	e.drop(in.now, d.teller, both)
	if held := len(d.dots) - len(both); held > 0 {
		e.stats.RecordsDisputed += uint64(held)
		e.dispute = Dispute{d.teller, in.from.Actor, held, in.now}
		if p := e.byActor[d.teller]; p != nil {
			p.disputed = in.now.Add(disputeStays)
		}
	}
}

// Dispute is that one peer says of records that they are gone, and another holds them.
type Dispute struct {
	Teller, Holder clock.Actor
	Records        int
	At             time.Time
}

// Dispute returns the latest one, a zero Dispute if there was none.
func (e *Engine) Dispute() Dispute { return e.dispute }
