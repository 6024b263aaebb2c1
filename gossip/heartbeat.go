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

// A worker is alive for as long as its host, the peer that it runs beside, renews its lease. The host
// sends each worker's remaining time to every peer. A heartbeat is not a write: it has no dot, and is
// not stored, repaired or forwarded. If one is lost, the next one replaces it.

// Limits of heartbeats.
const (
	MaxWorkers      = 65_536    // workers that a peer hosts, and workers of other hosts that it knows; more are ignored
	MaxHeartbeatTTL = time.Hour // longest lease; a longer one is cut to this
	MaxWorkerID     = 128       // bytes of a worker's name
	beatsPerFrame   = 2048
	greetDelay      = 250 * time.Millisecond // time after which a peer that joined has this peer in its view too
)

// Beats are the leases of workers: those that this peer hosts and announces, and those that other
// hosts have announced.
type Beats struct {
	*shared
	hosted   map[string]hosted // workers that this peer hosts
	leases   map[string]lease  // workers of other hosts
	beatAt   time.Time         // when all hosted leases are announced next; zero for never
	newAt    time.Time         // when hosted leases that are not announced yet are; zero for never
	prunedAt time.Time         // when ended leases were last removed from leases
}

// peerBeats is the state that heartbeats keep for each peer.
type peerBeats struct {
	greetAt time.Time // when all hosted leases are sent to the peer alone; zero for never
}

// Liveness is what is known of whether a worker is alive.
type Liveness uint8

const (
	// Active workers have a lease that has not run out, from a host that is up.
	Active Liveness = iota + 1
	// Unreachable workers have a host that is down or cut off, and that did not end their
	// leases. They may be alive on the other side of a partition.
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

// Heartbeat is what an Engine knows of one worker.
type Heartbeat struct {
	Worker    string
	Host      clock.Actor // the peer that hosts the worker
	State     Liveness
	Remaining time.Duration // time left of the lease, 0 when it has run out
}

// hosted is the lease of a worker that this peer hosts.
type hosted struct {
	ttl       time.Duration // the time that each renewal gives
	until     time.Time     // end of the lease by this peer's clock; zero if each heartbeat of this peer renews it
	announced bool          // the other peers have been sent it
}

// remaining returns the time left of the lease.
func (h hosted) remaining(now time.Time) time.Duration {
	if h.until.IsZero() {
		return h.ttl
	}
	return max(h.until.Sub(now), 0)
}

// lease is the lease of a worker of another host.
type lease struct {
	host  clock.Actor
	until time.Time // end of the lease by this peer's clock
}

// ErrTooManyWorkers says that this peer hosts MaxWorkers workers already.
var ErrTooManyWorkers = fmt.Errorf("this peer hosts %d workers, and no more are allowed", MaxWorkers)

// beat is one entry of a beats section.
type beat struct {
	worker    string
	remaining time.Duration
}

// ValidateWorkerID returns a *crdt.KeyError if id is no name of a worker: a name is one segment of a
// key and has at most MaxWorkerID bytes.
func ValidateWorkerID(id string) error {
	if len(id) > MaxWorkerID || strings.Contains(id, "/") {
		return &crdt.KeyError{Key: id, Reason: fmt.Sprintf("is no worker's name: want up to %d bytes without '/'", MaxWorkerID)}
	}
	return crdt.ValidateKey(id)
}

// Host makes this peer renew worker's lease of ttl with every heartbeat, until Release. A ttl over
// MaxHeartbeatTTL is cut. Errors are a bad name, a ttl that is not positive, and ErrTooManyWorkers.
func (hs *Beats) Host(now time.Time, worker string, ttl time.Duration) error {
	return hs.setHosted(now, worker, hosted{ttl: ttl})
}

// Beat gives worker a lease of ttl from now on, which this peer announces. It does not shorten the
// life of a worker for which Host was called. Its errors are those of Host.
func (hs *Beats) Beat(now time.Time, worker string, ttl time.Duration) error {
	return hs.setHosted(now, worker, hosted{ttl: ttl, until: now.Add(min(ttl, MaxHeartbeatTTL))})
}

// setHosted checks and records a hosted lease.
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
		h = old // Host was called: the lease does not run out
	}
	hs.hosted[worker] = h
	if !h.announced {
		hs.newAt = earlier(hs.newAt, now)
	}
	if hs.beatAt.IsZero() { // at a random moment, so that peers which started together do not beat together
		hs.beatAt = now.Add(hs.cfg.BeatInterval/2 + time.Duration(hs.rng.Int64N(int64(hs.cfg.BeatInterval/2)+1)))
	}
	return nil
}

// Release ends the lease of a worker that this peer hosts, and announces that at once.
func (hs *Beats) Release(now time.Time, worker string) {
	if _, ok := hs.hosted[worker]; !ok {
		return
	}
	delete(hs.hosted, worker)
	hs.sendBeats(now, hs.living, []beat{{worker, 0}})
}

// Hosted returns the names of the workers that this peer hosts and whose lease has not run out, sorted.
func (hs *Beats) Hosted(now time.Time) []string {
	var list []string
	for _, worker := range slices.Sorted(maps.Keys(hs.hosted)) {
		if hs.hosted[worker].remaining(now) > 0 {
			list = append(list, worker)
		}
	}
	return list
}

// announceLeases sends all hosted leases to every peer when BeatInterval is over, and before that
// those that are new.
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

// greet sends all hosted leases to the peers for which greetAt has come.
func (hs *Beats) greet(now time.Time) {
	for _, p := range hs.scheduled {
		if p.Alive && due(p.greetAt, now) {
			p.greetAt = time.Time{}
			hs.sendBeats(now, []*peer{p}, hs.dueLeases(now, true))
		}
	}
}

// dueLeases returns the hosted leases to announce, by name: all, or those that are new. It removes
// those that have run out.
func (hs *Beats) dueLeases(now time.Time, all bool) []beat {
	list := make([]beat, 0, len(hs.hosted))
	for _, worker := range slices.Sorted(maps.Keys(hs.hosted)) {
		h := hs.hosted[worker]
		left := h.remaining(now)
		if left == 0 {
			delete(hs.hosted, worker) // the other peers let it run out too, so nothing is announced
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

// sendBeats sends leases to peers: as a packet if they fit in one, else on the stream before bulk.
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
			hs.send(now, p, class, slices.Clone(frame)) // each envelope owns its frame
		}
		hs.stats.BeatsSent += uint64(len(part) * len(to))
	}
}

// beats receives leases that their host announces. It ignores a host that is no member.
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
			// The worker has moved to another host, and its former host announces the rest of its lease.
		case remaining > 0 && (known || e.roomForLease(in.now)):
			e.leases[string(id)] = lease{in.from.Actor, until}
		case remaining == 0 && known && l.host == in.from.Actor:
			delete(e.leases, string(id))
		}
	}
}

// roomForLease reports whether another lease may be kept. Once in BeatInterval it removes the leases of
// workers that are gone.
func (hs *Beats) roomForLease(now time.Time) bool {
	if now.Sub(hs.prunedAt) >= hs.cfg.BeatInterval {
		hs.prunedAt = now
		maps.DeleteFunc(hs.leases, func(_ string, l lease) bool { return hs.liveness(now, l) == 0 })
	}
	return len(hs.leases) < MaxWorkers
}

// liveness returns the state of a worker by its lease. It returns 0 if the worker is gone: its host
// left, was restarted, or has sent frames since the lease ran out without renewing it.
func (hs *Beats) liveness(now time.Time, l lease) Liveness {
	p := hs.byActor[l.host]
	switch {
	case p == nil:
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

// Heartbeat returns what is known of one worker at now. ok is false if the worker is unknown or
// gone.
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

// Heartbeats returns the workers that are active or unreachable at now, by name.
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
