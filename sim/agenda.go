package sim

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// agenda holds the events to come in a binary heap. The order is by time, and by the order
// of planning for events of one time. To take an event and add one takes 0.18 µs, and 0.61 µs with two
// allocations in a container/heap (docs/decisions/0034).
type agenda struct {
	list   []event
	serial uint64
}

// event is one of four things: a call (do), a frame for one life of a peer (frame and
// life), a sealed packet for any life of a peer (frame without life), or a tick of one life
// of a peer (life without frame). Frames and ticks have fields of their own, and no
// closure, because they are nearly all events.
type event struct {
	at     time.Duration
	serial uint64
	do     func()
	to     *Peer
	life   *replica.Replica
	frame  []byte
}

// happen carries out e. A frame or tick for a life that has ended does nothing.
func (e event) happen() {
	switch {
	case e.do != nil:
		e.do()
	case !e.to.up:
	case e.frame != nil && e.life == nil:
		e.to.open(e.frame)
		e.to.c.recycle(e.frame)
	case e.to.r != e.life:
	case e.frame != nil:
		e.to.receive(e.frame)
	default:
		e.to.tick(e.at)
	}
}

func (e event) before(o event) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

// add plans a call.
func (a *agenda) add(at time.Duration, do func()) { a.plan(event{at: at, do: do}) }

// plan adds e and gives it the next serial number.
func (a *agenda) plan(e event) {
	a.serial++
	e.serial = a.serial
	a.list = append(a.list, e)
	i := len(a.list) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(a.list[up]) {
			break
		}
		a.list[i] = a.list[up]
		i = up
	}
	a.list[i] = e
}

// next removes and returns the first event, if that is due by until.
func (a *agenda) next(until time.Duration) (event, bool) {
	if len(a.list) == 0 || a.list[0].at > until {
		return event{}, false
	}
	first := a.list[0]
	n := len(a.list) - 1
	last := a.list[n]
	a.list[n] = event{}
	a.list = a.list[:n]
	if n == 0 {
		return first, true
	}
	i := 0
	for child := 1; child < n; child = 2*i + 1 {
		if child+1 < n && a.list[child+1].before(a.list[child]) {
			child++
		}
		if !a.list[child].before(last) {
			break
		}
		a.list[i] = a.list[child]
		i = child
	}
	a.list[i] = last
	return first, true
}
