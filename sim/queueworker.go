package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// job is the work of one worker.
type job struct {
	times  int           // how many items it takes; 0: without end
	ttl    time.Duration // of the lease of each item
	takes  time.Duration // how long it works on an item
	ending string        // the verdict on each item, one of endings
	to     int           // the peer at which it finishes the item; 0: where it is
}

// endings are the ways in which a worker may end its work on an item. A worker that stalls
// does not renew its lease, and completes the item too late.
var endings = []string{"complete", "fail", "dead", "release", "stall"}

// parseJob parses "3 ttl=2s takes=500ms then=fail to=2".
func parseJob(args []string) (j job, err error) {
	j = job{ttl: 2 * time.Second, ending: "complete"}
	if j.times, err = strconv.Atoi(arg(args, 0)); err != nil || j.times < 1 {
		return j, fmt.Errorf("a number of items is wanted, not %q", arg(args, 0))
	}
	err = options(args[1:], func(name, value string) (err error) {
		switch name {
		case "ttl":
			if j.ttl, err = duration([]string{value}, 0); err == nil && (j.ttl < lockservice.LeastTTL || j.ttl > maxClaim) {
				err = fmt.Errorf("a ttl from %v to %v is wanted, not %v", lockservice.LeastTTL, maxClaim, j.ttl)
			}
		case "takes":
			j.takes, err = duration([]string{value}, 0)
		case "to":
			j.to, err = strconv.Atoi(value)
		case "then":
			if j.ending = value; !slices.Contains(endings, value) {
				err = fmt.Errorf("one of %s is wanted, not %q", strings.Join(endings, ", "), value)
			}
		default:
			err = fmt.Errorf("ttl=, takes=, to= or then= is wanted, not %q", name)
		}
		return err
	})
	return j, err
}

// options calls f for every "name=value", up to the first error.
func options(words []string, f func(name, value string) error) error {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		if err := f(name, value); err != nil {
			return err
		}
	}
	return nil
}

// worker claims items one after the other, as a program does with workqueue.Queue.
type worker struct {
	q *workQueue
	job
	done  int          // items so far
	claim *queue.Claim // the present claim; nil without one
	lease *lockCall    // the lease of the claim
	round uint64       // the round that confirms the lease
	stage stage

	end     *queue.Ending // the verdict
	written uint64        // the last sequence number of the write of the verdict
	actor   clock.Actor   // the writer of the verdict
	deed    *deed         // the write of the verdict
}

// stage is the stage of a claim.
type stage uint8

const (
	looking    stage = iota // for an item
	asking                  // for the item's lease
	confirming              // the lease is granted, and a later round confirms it
	working                 // the claim is written
	deciding                // the verdict is written, and acknowledgements are awaited
)

// The times that the agent waits, or a program before it asks again.
const (
	confirmWithin = time.Second            // for the confirmation of a lease
	askAgain      = time.Second            // after a refusal, or without a majority
	maxClaim      = 3 * time.Second        // the locks' MaxTTL
	lookAgain     = 100 * time.Millisecond // after a claim was given up, and for acknowledgements
)

// begin looks for an item.
func (w *worker) begin() {
	q, p := w.q, w.q.shop.p
	if up, need := p.locks.node.Quorum(); up < need {
		q.shop.later(askAgain, w.begin)
		return
	}
	var list []*queue.Claim
	q.do(func(core *queue.Index, now time.Time) {
		if list = core.Take(now, 1, nil); len(list) == 0 {
			q.turns[core.Wait(now)] = w
		}
	})
	if len(list) == 0 {
		return
	}
	w.claim, w.stage = list[0], asking
	p.c.judge.takes(w)
	c := w.claim
	call := lockservice.Call{Lock: queue.Lock(q.name, c.ID), TTL: w.ttl, Try: true, Bearer: w.ending == "stall" || w.to > 0}
	var err error
	w.lease, err = p.acquire(call, func(r lockservice.Result) {
		q.shop.later(0, func() { // as another goroutine would
			if w.claim == c {
				w.hear(r)
			}
		})
	})
	if err != nil {
		w.giveUp()
	}
}

// hear takes a result of the lock service for the lease.
func (w *worker) hear(r lockservice.Result) {
	q, c := w.q, w.claim
	switch {
	case r.Event == lockservice.Refused:
		others := false
		w.claim = nil
		q.do(func(core *queue.Index, now time.Time) { others = core.Refused(now, c, r.Err) })
		if others {
			q.shop.later(0, w.begin)
		} else {
			q.shop.later(askAgain, w.begin)
		}
	case r.Event == lockservice.Acquired:
		w.stage = confirming
		q.core.Granted(c, r.Token)
		var err error
		if w.round, err = w.lease.confirm(); err != nil {
			w.giveUp()
			return
		}
		q.shop.later(confirmWithin, func() {
			if w.claim == c && w.stage == confirming {
				w.giveUp()
			}
		})
	case r.Event == lockservice.Extended && w.stage == confirming && r.Round >= w.round:
		w.confirmed()
	case r.Event == lockservice.Lost && w.stage == confirming:
		w.giveUp()
	case r.Event == lockservice.Lost && w.stage == working:
		w.lost()
	}
}

// confirmed writes the claim, or gives the item up if it cannot be claimed any more.
func (w *worker) confirmed() {
	q, p, c := w.q, w.q.shop.p, w.claim
	var ops []crdt.Op
	work := false
	_, exists := p.Get(queue.ItemKey(q.name, c.ID))
	q.do(func(core *queue.Index, now time.Time) { ops, work = core.Confirmed(now, c, w.ttl, exists) })
	if len(ops) > 0 {
		p.c.judge.claims(q)
		written := p.write(true, ops) == nil
		if written {
			q.do(func(core *queue.Index, now time.Time) { core.Begin(now, c) })
		}
		work = work && written
	}
	if !work {
		w.giveUp()
		return
	}
	w.stage = working
	p.c.judge.begins(w)
	takes := w.takes
	if w.ending == "stall" {
		takes = w.ttl + w.takes
	}
	if w.to > 0 {
		p.c.At(p.c.now+takes, func() { // whether the peer lives or not
			if w.claim == c && w.stage == working {
				w.move()
			}
		})
		return
	}
	q.shop.later(takes, func() {
		if w.claim == c && w.stage == working {
			w.finish()
		}
	})
}

// giveUp ends a claim that was not written, and looks for another item later.
func (w *worker) giveUp() {
	w.q.do(func(core *queue.Index, now time.Time) { core.GiveUp(now, w.claim) })
	if w.lease != nil {
		w.lease.release()
	}
	w.claim, w.lease, w.stage = nil, nil, looking
	w.q.shop.later(lookAgain, w.begin)
}

// lost ends a claim whose lease was lost, and writes that the item is pending again.
func (w *worker) lost() {
	w.q.shop.p.c.reached("a claim was lost")
	w.q.do(func(core *queue.Index, now time.Time) {
		if w.to > 0 { // it may go on elsewhere
			core.Lapse(now, w.claim)
			return
		}
		if end, ok := core.Lost(now, w.claim); ok && w.q.shop.p.write(true, []crdt.Op{end.Op}) == nil {
			core.Written(now, end)
		}
	})
	w.next()
}

// finish writes the verdict on the item, and waits until a majority of voters has it.
func (w *worker) finish() {
	q, p, c := w.q, w.q.shop.p, w.claim
	if w.lease.left() <= 0 {
		return // the lease is over, and the lock machine is about to say so
	}
	q.do(func(core *queue.Index, now time.Time) {
		switch w.ending {
		case "fail":
			w.end, _ = core.Fail(now, c, queue.Failure{Reason: "failed"})
		case "dead":
			w.end, _ = core.Fail(now, c, queue.Failure{Reason: "failed", Dead: true})
		case "release":
			w.end, _ = core.Release(now, c)
		default:
			w.end, _ = core.Complete(now, c, crdt.Value{})
		}
	})
	w.stage = deciding
	if p.write(true, []crdt.Op{w.end.Op}) != nil {
		w.conclude(false)
		return
	}
	w.deed = p.c.judge.deeds[len(p.c.judge.deeds)-1]
	q.do(func(core *queue.Index, now time.Time) { core.Written(now, w.end) })
	w.written, w.actor = p.r.Store().Last(), p.r.Actor()
	q.shop.ending = append(q.shop.ending, w)
	w.ask()
}

// ask asks the other peers to acknowledge the verdict, every lookAgain until it is decided.
func (w *worker) ask() {
	if w.stage != deciding || w.decided() {
		return
	}
	w.q.shop.p.wait()
	end := w.end
	w.q.shop.later(lookAgain, func() {
		if w.end == end {
			w.ask()
		}
	})
}

// acked decides the verdicts that enough voters have acknowledged now.
func (s *workshop) acked() {
	for _, w := range slices.Clone(s.ending) {
		w.decided()
	}
}

// decided concludes the verdict if a majority of voters has it, or if the lease has ended.
// It reports whether it did.
func (w *worker) decided() bool {
	p := w.q.shop.p
	acked := queue.Acknowledged(p.voters.Names, p.name, p.r.View().AckedBy(w.written)) && p.r.Actor() == w.actor
	if !acked && w.lease.left() > 0 && p.r.Actor() == w.actor {
		return false
	}
	w.conclude(acked)
	return true
}

// conclude ends a claim: acked says that a majority of voters has the verdict.
func (w *worker) conclude(acked bool) {
	q, p := w.q, w.q.shop.p
	q.shop.ending = slices.DeleteFunc(q.shop.ending, func(o *worker) bool { return o == w })
	left := w.lease.left()
	var remove crdt.Op
	valid := false
	q.do(func(core *queue.Index, now time.Time) { remove, valid = core.Conclude(now, w.end, acked, left) })
	p.c.judge.concludes(w, valid)
	w.lease.release()
	if remove.Key != "" {
		_ = p.write(false, []crdt.Op{remove}) // a record that stays goes when the result expires
	}
	w.next()
}

// next goes on to another item.
func (w *worker) next() {
	w.claim, w.lease, w.end, w.stage = nil, nil, nil, looking
	if w.done++; w.done != w.times {
		w.q.shop.later(0, w.begin)
	}
}
