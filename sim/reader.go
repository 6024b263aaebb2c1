package sim

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/backlog"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// reader is a slow subscriber. Its queue is bounded as those of the agent's subscribers.
// When the queue overflows, the reader learns that it lagged, discards its state, and reads
// every key again. Changes that come meanwhile wait in the queue.
type reader struct {
	p     *Peer
	life  *replica.Replica // the life of p that it has subscribed to
	limit int              // of the queue, in changes
	pace  time.Duration    // how long it takes for a change
	queue backlog.Queue[notice]
	state []string          // keys that it has yet to read
	holds map[string]string // the value of each key, as far as the reader knows, as shown renders it
	exact bool              // no change in the queue is older than holds
	busy  bool              // a take is planned
}

// notice is one change in the form that a subscriber gets.
type notice struct {
	key, old, now string
	lazy          bool // old is not the value before
}

// watch parses "watch 8 50ms".
func (c steps) watch(p *Peer, args []string) (func(), error) {
	limit, err := strconv.Atoi(arg(args, 0))
	if err != nil || limit < 1 {
		return nil, errors.New("how many changes may wait is wanted, 1 or more")
	}
	pace, err := duration(args, 1)
	if err != nil {
		return nil, err
	}
	return func() {
		r := &reader{p: p, limit: limit, pace: pace}
		p.readers = append(p.readers, r)
		if p.up {
			r.subscribe()
		}
	}, nil
}

// subscribe begins a subscription to the present life of the peer.
func (r *reader) subscribe() {
	r.life, r.queue, r.busy = r.p.r, backlog.Queue[notice]{Limit: r.limit, Bytes: math.MaxInt}, false
	r.over()
	r.wait()
}

// over discards the reader's state, and has it read every key again.
func (r *reader) over() {
	r.holds, r.exact = map[string]string{}, false
	r.state = slices.Sorted(maps.Keys(r.p.content()))
}

// tell returns the changes in the form that subscribers get.
func (p *Peer) tell(changes []crdt.Change) []crdt.Change {
	return crdt.Notifications(changes, func(key string) (crdt.Value, crdt.Kind, bool) {
		e, ok := p.Get(key)
		if !ok {
			return crdt.Value{}, 0, false
		}
		return valueOf(e), e.Kind(), true
	})
}

// valueOf returns the value of an entry. That of a custom entry is the list of its siblings.
func valueOf(e crdt.Entry) crdt.Value {
	if e.Kind() != crdt.Custom {
		return e.Value()
	}
	list := make([]any, len(e.Siblings()))
	for i, s := range e.Siblings() {
		list[i] = s.Value
	}
	v, err := crdt.ValueOf(list)
	if err != nil {
		panic(err) // the values of scripts are far below the limits
	}
	return v
}

// shown returns the encoded value of an entry, to compare it with others.
func shown(e crdt.Entry) string { return valueOf(e).Raw() }

// hear queues changes, as the agent does. It leaves out conflicts, which change no value.
func (r *reader) hear(changes []crdt.Change) {
	if r.life != r.p.r {
		r.subscribe()
	}
	for _, ch := range r.p.tell(changes) {
		if ch.Cause == crdt.CauseConflict {
			continue
		}
		t := notice{ch.Key, ch.Old.Raw(), ch.New.Raw(), ch.Lazy || ch.Cause == crdt.CauseExpired}
		r.queue.Offer(t, len(t.key)+len(t.old)+len(t.now))
	}
	r.wait()
}

// wait plans the next take, unless one is planned.
func (r *reader) wait() {
	if r.busy {
		return
	}
	r.busy = true
	life, pace := r.life, r.pace
	if r.p.paused {
		pace = max(pace, 100*time.Millisecond)
	}
	r.p.c.At(r.p.c.now+pace, func() {
		if r.life != life || r.p.r != life || !r.p.up {
			return
		}
		r.busy = false
		if r.p.paused || r.take() {
			r.wait()
		}
	})
}

// take reads the next key, or takes the next change. It reports whether there was one.
func (r *reader) take() bool {
	if len(r.state) > 0 {
		key := r.state[0]
		r.state = r.state[1:]
		if e, ok := r.p.Get(key); ok {
			r.holds[key] = shown(e)
		}
		return true
	}
	t, ok, lagged := r.queue.Next()
	switch {
	case lagged:
		r.p.c.reached("a slow subscriber lagged")
		r.over()
	case ok:
		if r.exact && !t.lazy && t.old != r.holds[t.key] {
			r.p.c.judge.violate(r.p.index, "R1: a subscriber of %s hears that %s was %x, and heard before that it is %x", r.p.name, t.key, t.old, r.holds[t.key])
		}
		if r.holds[t.key] = t.now; t.now == "" {
			delete(r.holds, t.key)
		}
	default:
		r.caughtUp()
		return false
	}
	return true
}

// caughtUp checks that a reader with an empty queue knows what its peer has reported (R2).
// A key that the reader has read itself may be newer, because its disk is still writing or
// its expiry is not reported yet.
func (r *reader) caughtUp() {
	if r.exact || r.p.held() {
		return
	}
	r.p.c.reached("a subscriber caught up")
	r.exact = true
	keys := maps.Clone(r.p.shadow)
	maps.Copy(keys, r.holds)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if r.holds[key] == r.p.shadow[key] {
			continue
		}
		now := ""
		if e, ok := r.p.Get(key); ok {
			now = shown(e)
		}
		if r.exact = false; r.holds[key] != now {
			r.p.c.judge.violate(r.p.index, "R2: a subscriber of %s takes %s for %x; it is %x", r.p.name, key, r.holds[key], r.p.shadow[key])
		}
	}
}

// settleReaders lets every reader take all that waits.
func (p *Peer) settleReaders() {
	for _, r := range p.readers {
		if r.life == p.r && !p.held() {
			r.exact = false // caughtUp checks once more
			for r.take() {
			}
		}
	}
}

// One seed of readersOneIn has slow readers, drawn from a stream of their own.
const (
	readersOneIn = 6
	readerStream = 0x4ead
)

// drawReaders adds slow readers to a script.
func drawReaders(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, readerStream))
	d.peers = d.script.Config.Peers
	if !d.one(readersOneIn) {
		return d.script
	}
	for range 1 + d.rng.IntN(2) {
		d.step(d.up(d.script.Ends/4), "%d watch %d %v", d.peer(), 1+d.rng.IntN(24), time.Millisecond+d.up([]time.Duration{20 * time.Millisecond, time.Second}[d.rng.IntN(2)]))
	}
	return d.script
}
