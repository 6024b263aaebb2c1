package agent

import (
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
)

// Stats is a reading of this peer's counters and gauges.
type Stats struct {
	Cluster       string                `json:"cluster"`
	Reads         uint64                `json:"reads"` // Get is sampled: one call in 64 counts for all
	Writes        uint64                `json:"writes"`
	Conflicts     uint64                `json:"conflicts"`
	CacheHits     uint64                `json:"cache_hits"`
	CacheMisses   uint64                `json:"cache_misses"`
	Invalidated   uint64                `json:"invalidated"` // cached values dropped because the key changed
	CacheSize     int                   `json:"cache_size"`
	CacheMax      int                   `json:"cache_max"`
	Flushes       uint64                `json:"flushes"`
	PendingWrites int                   `json:"pending_writes"` // deltas that wait for peers
	Backlog       int                   `json:"backlog"`        // bytes written that are not carried out yet
	Subscriptions int                   `json:"subscriptions"`
	FramesDropped uint64                `json:"frames_dropped"` // arrived faster than they could be taken; repaired
	LinesDropped  uint64                `json:"lines_dropped"`  // of the log, whose handler was too slow
	Vector        clock.Vector          `json:"vector"`
	Store         crdt.Stats            `json:"store"`
	Gossip        gossip.Stats          `json:"gossip"`
	Transport     transport.Stats       `json:"transport"`
	Members       map[string]int        `json:"members"`  // by state
	Workers       map[string]int        `json:"workers"`  // by whether they are active or unreachable
	Problems      map[string]int        `json:"problems"` // of live peers, by kind
	Packets       map[string]int        `json:"packets"`  // live peers by whether UDP passes: pass, blocked one way or both, unknown
	Queues        map[string]QueueStats `json:"queues"`
	Guarantee     string                `json:"guarantee"` // of locks and claims: quorum, best-effort or this-peer
	Blocking      []string              `json:"blocking"`  // peers that keep removals from being forgotten
}

// Stats returns the current reading. It is the caller's.
func (a *Agent) Stats() Stats {
	s := Stats{
		Cluster:       a.cfg.Cluster,
		Reads:         a.reads.Load(),
		CacheHits:     a.cache.hits.Load(),
		CacheMisses:   a.cache.misses.Load(),
		Invalidated:   a.cache.invalidated.Load(),
		CacheSize:     a.cache.Len(),
		CacheMax:      a.cache.size,
		Subscriptions: a.watch.count(),
		Transport:     a.net.Stats(),
		Members:       map[string]int{"alive": 0, "dead": 0, "left": 0},
		Workers:       map[string]int{string(WorkerActive): 0, string(WorkerUnreachable): 0},
		Problems:      map[string]int{},
		Packets:       map[string]int{"pass": 0, "blocked": 0, "unknown": 0},
		Queues:        a.queues.stats(),
		Guarantee:     a.locks.session.Guarantee().String(),
		LinesDropped:  a.logs.Dropped(),
	}
	a.inbox.mu.Lock()
	s.FramesDropped = a.inbox.dropped
	a.inbox.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Writes, s.Backlog = a.writes, a.backlog
	s.Vector = a.store.Context().Vector()
	s.Store, s.Gossip = a.store.Stats(), a.replica.View().Stats()
	s.Conflicts, s.Flushes, s.PendingWrites = s.Store.Conflicts, s.Gossip.Flushes, s.Gossip.Pending
	s.Blocking = append([]string{}, a.replica.View().Blocking()...)
	for _, k := range a.members {
		s.Members[k.State.String()]++
	}
	for _, h := range a.replica.View().Heartbeats(time.Now()) {
		s.Workers[h.State.String()]++
	}
	for _, p := range a.replica.View().Peers() {
		if p.Alive {
			s.Packets[Packets{p.PacketsTo.String(), p.PacketsFrom.String()}.state()]++
		}
	}
	for _, n := range a.replica.Problems() {
		s.Problems[n.Problem.String()]++
	}
	return s
}

// Digest identifies the state: peers that agree have equal ones. keys counts what
// the store holds.
func (a *Agent) Digest() (hash string, keys int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%016x", a.replica.View().StateHash()), a.store.Len()
}

// Conflicts returns concurrent writes that lost, newest first, of keys that match
// pattern, at most limit.
func (a *Agent) Conflicts(pattern string, limit int) ([]crdt.Conflict, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return nil, err
	}
	if a.isClosed() {
		return nil, ErrClosed
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Conflicts(p.Match, limit), nil
}
