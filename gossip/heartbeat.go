package gossip

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// A worker is alive for as long as the peer it runs beside, its host, renews a
// lease for it: (worker, remaining time), told by the host to every peer. That is
// no write: it has no dot, is not kept, not repaired and not passed on. One that is
// lost is made good by the next.

// Limits of heartbeats.
const (
	MaxWorkers      = 65_536    // known at once; more are not noted
	MaxHeartbeatTTL = time.Hour // a longer one is cut
	MaxWorkerID     = 128       // bytes
	beatsPerFrame   = 2048
	greetDelay      = 250 * time.Millisecond // after which a peer that joined knows us too
)

// Beats are the leases of workers: of those beside this peer, which it tells the
// others, and of those that others tell of.
type Beats struct {
	*shared
	hosted   map[string]hosted // workers that beat through this peer
	leases   map[string]lease  // and through others
	beatAt   time.Time         // when all of hosted are told
	newAt    time.Time         // when those of hosted that were not told yet are
	prunedAt time.Time
}

// peerBeats is what heartbeats keep of a peer.
type peerBeats struct {
	greetAt time.Time // when it is told of the workers here
}

// Liveness is what a heartbeat says about its worker.
type Liveness uint8

const (
	// Active workers have a lease that runs, from a host that is up.
	Active Liveness = iota + 1
	// Unreachable workers are out of sight: their host did not say goodbye, and
	// is down or cut off. They may be well, on the other side.
	Unreachable
)

var livenessNames = [...]string{"", "active", "unreachable"}

// String returns active or unreachable.
func (l Liveness) String() string {
	if int(l) < len(livenessNames) {
		return livenessNames[l]
	}
	return "unknown"
}

// Heartbeat is what an Engine knows of one worker's life.
type Heartbeat struct {
	Worker    string
	Host      clock.Actor // the peer it beats through
	State     Liveness
	Remaining time.Duration // of its lease, 0 when that has run out
}

// hosted is a worker that beats through this peer.
type hosted struct {
	ttl       time.Duration
	until     time.Time // zero: it lives as long as this peer
	announced bool
}

func (h hosted) remaining(now time.Time) time.Duration {
	if h.until.IsZero() {
		return h.ttl
	}
	return max(h.until.Sub(now), 0)
}

// lease is a worker that beats through another peer.
type lease struct {
	host  clock.Actor
	until time.Time // by this peer's clock
}

// ErrTooManyWorkers says that no more workers may beat through this peer.
var ErrTooManyWorkers = fmt.Errorf("this peer hosts %d workers, and no more are allowed", MaxWorkers)

// beat is one entry of a section.
type beat struct {
	worker    string
	remaining time.Duration
}

// ValidateWorkerID says what is wrong with the name of a worker: it is one segment
// of a key, of up to MaxWorkerID bytes.
func ValidateWorkerID(id string) error {
	if len(id) > MaxWorkerID || strings.Contains(id, "/") {
		return &crdt.KeyError{Key: id, Reason: fmt.Sprintf("is no worker's name: want up to %d bytes without '/'", MaxWorkerID)}
	}
	return crdt.ValidateKey(id)
}

// Host makes worker live as long as this peer does: its lease of ttl is renewed
// with every heartbeat until Release.
func (hs *Beats) Host(now time.Time, worker string, ttl time.Duration) error {
	return hs.setHosted(now, worker, hosted{ttl: ttl})
}

// Beat makes worker live for ttl from now on, through this peer.
func (hs *Beats) Beat(now time.Time, worker string, ttl time.Duration) error {
	return hs.setHosted(now, worker, hosted{ttl: ttl, until: now.Add(min(ttl, MaxHeartbeatTTL))})
}

func (hs *Beats) setHosted(now time.Time, worker string, h hosted) error {
	if err := ValidateWorkerID(worker); err != nil {
		return err
	}
	if h.ttl <= 0 {
		return fmt.Errorf("worker %q: a heartbeat of %v: want a positive duration", worker, h.ttl)
	}
	h.ttl = min(h.ttl, MaxHeartbeatTTL)
	old, known := hs.hosted[worker]
	if !known && len(hs.hosted) >= MaxWorkers {
		return fmt.Errorf("worker %q: %w", worker, ErrTooManyWorkers)
	}
	h.announced = old.announced
	if old.ttl != 0 && old.until.IsZero() && !h.until.IsZero() {
		h = old // it lives longer already
	}
	hs.hosted[worker] = h
	if !h.announced {
		hs.newAt = earlier(hs.newAt, now)
	}
	if hs.beatAt.IsZero() { // at a moment of its own, for all started together
		hs.beatAt = now.Add(hs.cfg.BeatInterval/2 + time.Duration(hs.rng.Int64N(int64(hs.cfg.BeatInterval/2)+1)))
	}
	return nil
}

// Release ends a worker's life here, and tells the others at once.
func (hs *Beats) Release(now time.Time, worker string) {
	if _, ok := hs.hosted[worker]; !ok {
		return
	}
	delete(hs.hosted, worker)
	hs.sendBeats(now, hs.living, []beat{{worker, 0}})
}

// Hosted returns the workers that beat through this peer, sorted.
func (hs *Beats) Hosted(now time.Time) []string {
	var list []string
	for _, worker := range slices.Sorted(maps.Keys(hs.hosted)) {
		if hs.hosted[worker].remaining(now) > 0 {
			list = append(list, worker)
		}
	}
	return list
}

// beats tells the others what is due: all workers each BeatInterval, new ones at
// once, and all to a peer that joined.
func (hs *Beats) announceLeases(now time.Time) {
	all := due(hs.beatAt, now)
	if all {
		hs.beatAt = now.Add(hs.cfg.BeatInterval)
	}
	if all || due(hs.newAt, now) {
		hs.newAt = time.Time{}
		hs.sendBeats(now, hs.living, hs.dueLeases(now, all))
	}
	if len(hs.hosted) == 0 {
		hs.beatAt = time.Time{}
	}
}

// greet tells a peer that joined about the workers here.
func (hs *Beats) greet(now time.Time) {
	for _, p := range hs.scheduled {
		if p.Alive && due(p.greetAt, now) {
			p.greetAt = time.Time{}
			hs.sendBeats(now, []*peer{p}, hs.dueLeases(now, true))
		}
	}
}

// leasesDue returns what is to be told, in order; those that ran out leave.
func (hs *Beats) dueLeases(now time.Time, all bool) []beat {
	list := make([]beat, 0, len(hs.hosted))
	for _, worker := range slices.Sorted(maps.Keys(hs.hosted)) {
		h := hs.hosted[worker]
		left := h.remaining(now)
		if left == 0 {
			delete(hs.hosted, worker) // as it does at the others
			continue
		}
		if all || !h.announced {
			list = append(list, beat{worker, left})
			h.announced = true
			hs.hosted[worker] = h
		}
	}
	return list
}

// sendBeats goes before all bulk: as a packet if it fits in one.
func (hs *Beats) sendBeats(now time.Time, to []*peer, list []beat) {
	for ; len(list) > 0 && len(to) > 0; list = list[min(len(list), beatsPerFrame):] {
		part := list[:min(len(list), beatsPerFrame)]
		w := hs.begin()
		w.section(secBeats, 2*len(part))
		for _, b := range part {
			w.body = wire.AppendStr(w.body, b.worker)
			w.uint(uint64(b.remaining.Milliseconds()))
		}
		frame := hs.finish(w, len(part), false)
		class := Urgent
		if len(frame) <= wire.MaxPacketBytes {
			class = Packet
		}
		for _, p := range to {
			hs.send(now, p, class, slices.Clone(frame)) // each receiver owns its own
		}
		hs.stats.BeatsSent += uint64(len(part) * len(to))
	}
}

// beats notes the leases that their host renews. A host that is no member yet, or
// none any more, is not believed.
func (in *incoming) beats(r *wire.Reader, n int) {
	e := in.e
	for range n / 2 {
		id, ms := r.Str(), r.Uint()
		if r.Err() != nil || in.from == nil {
			return
		}
		if err := ValidateWorkerID(string(id)); err != nil {
			r.Fail("worker id")
			return
		}
		e.stats.BeatsReceived++
		l, known := e.leases[string(id)]
		remaining := time.Duration(min(ms, uint64(MaxHeartbeatTTL/time.Millisecond))) * time.Millisecond
		until := in.now.Add(remaining)
		switch {
		case remaining > 0 && known && l.host != in.from.Actor && until.Before(l.until) && e.liveness(in.now, l) == Active:
			// The worker has moved: this is what its old host has left of it.
		case remaining > 0 && (known || e.roomForLease(in.now)):
			e.leases[string(id)] = lease{in.from.Actor, until}
		case remaining == 0 && known && l.host == in.from.Actor:
			delete(e.leases, string(id))
		}
	}
}

// roomForLease forgets who is gone, now and then, and reports whether another
// worker may be noted.
func (hs *Beats) roomForLease(now time.Time) bool {
	if now.Sub(hs.prunedAt) >= hs.cfg.BeatInterval {
		hs.prunedAt = now
		maps.DeleteFunc(hs.leases, func(_ string, l lease) bool { return hs.liveness(now, l) == 0 })
	}
	return len(hs.leases) < MaxWorkers
}

// liveness judges a lease; 0 is gone: its host left, came back as another, or went
// on without renewing it.
func (hs *Beats) liveness(now time.Time, l lease) Liveness {
	p := hs.byActor[l.host]
	switch {
	case p == nil || hs.replaced(p):
		return 0
	case !p.Alive:
		return Unreachable
	case now.Before(l.until):
		return Active
	case p.contact.After(l.until):
		return 0
	}
	return Unreachable
}

// Heartbeat returns what is known of one worker at now; ok is false if it is not
// known, or gone.
func (hs *Beats) Heartbeat(now time.Time, worker string) (h Heartbeat, ok bool) {
	if own, here := hs.hosted[worker]; here && own.remaining(now) > 0 {
		return Heartbeat{worker, hs.cfg.Self, Active, own.remaining(now)}, true
	}
	l, known := hs.leases[worker]
	if !known {
		return Heartbeat{}, false
	}
	state := hs.liveness(now, l)
	return Heartbeat{worker, l.host, state, max(l.until.Sub(now), 0)}, state != 0
}

// Heartbeats returns the workers that are active or out of sight at now, by name.
func (hs *Beats) Heartbeats(now time.Time) []Heartbeat {
	list := make([]Heartbeat, 0, len(hs.hosted)+len(hs.leases))
	for worker := range hs.hosted {
		if h, ok := hs.Heartbeat(now, worker); ok {
			list = append(list, h)
		}
	}
	for worker := range hs.leases {
		if _, here := hs.hosted[worker]; here {
			continue
		}
		if h, ok := hs.Heartbeat(now, worker); ok {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b Heartbeat) int { return cmp.Compare(a.Worker, b.Worker) })
	return list
}
