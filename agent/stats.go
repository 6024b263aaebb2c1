package agent

import (
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Stats is a reading of this peer's counters and gauges.
type Stats struct {
	Cluster       string                     `json:"cluster"`
	Reads         uint64                     `json:"reads"` // Get is sampled: one call in 64 counts for all
	Writes        uint64                     `json:"writes"`
	Conflicts     uint64                     `json:"conflicts"`
	CacheHits     uint64                     `json:"cache_hits"`
	CacheMisses   uint64                     `json:"cache_misses"`
	Invalidated   uint64                     `json:"invalidated"` // cached values dropped because the key changed
	CacheSize     int                        `json:"cache_size"`
	CacheMax      int                        `json:"cache_max"`
	Flushes       uint64                     `json:"flushes"`
	PendingWrites int                        `json:"pending_writes"` // deltas that wait for peers
	Backlog       int                        `json:"backlog"`        // bytes written that are not carried out yet
	Subscriptions int                        `json:"subscriptions"`
	FramesDropped uint64                     `json:"frames_dropped"` // arrived faster than they could be taken; repaired
	LinesDropped  uint64                     `json:"lines_dropped"`  // of the log, whose handler was too slow
	Vector        clock.Vector               `json:"vector"`         // of lives that have not ended; Store.Retired counts the others
	Store         crdt.Stats                 `json:"store"`
	Gossip        gossip.Stats               `json:"gossip"`
	Transport     transport.Stats            `json:"transport"`
	Members       map[string]int             `json:"members"`  // by state
	Workers       map[string]int             `json:"workers"`  // by whether they are active or unreachable
	Problems      map[string]int             `json:"problems"` // of live peers, by kind
	Packets       map[string]int             `json:"packets"`  // live peers by whether UDP passes: pass, blocked one way or both, unknown
	Queues        map[string]workqueue.Stats `json:"queues"`
	Guarantee     string                     `json:"guarantee"` // of locks and claims: quorum, best-effort or this-peer
	Blocking      []string                   `json:"blocking"`  // peers that keep removals from being forgotten
}

// Stats returns the current reading. It is the caller's.
func (a *Agent) Stats() Stats {
	n := a.mem.Counts()
	s := Stats{
		Cluster:       a.cfg.Cluster,
		Reads:         n.Reads,
		Writes:        n.Writes,
		Backlog:       n.Backlog,
		CacheHits:     n.CacheHits,
		CacheMisses:   n.CacheMisses,
		Invalidated:   n.Invalidated,
		CacheSize:     n.CacheSize,
		CacheMax:      n.CacheMax,
		FramesDropped: a.inbox.lost(),
		Subscriptions: a.watch.count(),
		Transport:     a.net.Stats(),
		Members:       map[string]int{"alive": 0, "dead": 0, "left": 0},
		Workers:       map[string]int{string(fleet.Active): 0, string(fleet.Unreachable): 0},
		Problems:      map[string]int{},
		Packets:       map[string]int{"pass": 0, "blocked": 0, "unknown": 0},
		Queues:        a.queues.Stats(),
		Guarantee:     a.locks.session.Guarantee().String(),
		LinesDropped:  a.logs.Dropped(),
	}
	a.mem.Do(func(r *replica.Replica, now time.Time) {
		v := r.View()
		s.Vector = make(clock.Vector)
		seen := r.Store().Context()
		for _, a := range seen.Listed() {
			s.Vector[a] = seen.Span(a).Base
		}
		s.Store, s.Gossip = r.Store().Stats(), v.Stats()
		s.Blocking = append([]string{}, v.Blocking()...)
		for _, k := range a.roster.members {
			s.Members[k.State.String()]++
		}
		for _, h := range v.Heartbeats(now) {
			s.Workers[h.State.String()]++
		}
		for _, p := range v.Peers() {
			if p.Alive {
				s.Packets[Packets{p.PacketsTo.String(), p.PacketsFrom.String()}.state()]++
			}
		}
		for _, n := range r.Problems() {
			s.Problems[n.Problem.String()]++
		}
	})
	s.Conflicts, s.Flushes, s.PendingWrites = s.Store.Conflicts, s.Gossip.Flushes, s.Gossip.Pending
	return s
}

// Digest identifies the state: peers that agree have equal ones. keys counts what
// the store holds.
func (a *Agent) Digest() (hash string, keys int) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		hash, keys = fmt.Sprintf("%016x", r.View().StateHash()), r.Store().Len()
	})
	return hash, keys
}

// Conflicts returns concurrent writes that lost, newest first, of keys that match
// pattern, at most limit.
func (a *Agent) Conflicts(pattern string, limit int) (list []crdt.Conflict, err error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return nil, err
	}
	if a.mem.Closed() {
		return nil, ErrClosed
	}
	a.mem.Do(func(r *replica.Replica, _ time.Time) { list = r.Store().Conflicts(p.Match, limit) })
	return list, nil
}
