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

// Stats is a reading of this peer's counters and gauges. Counters begin at 0 when the peer starts.
type Stats struct {
	Cluster       string                     `json:"cluster"`
	Reads         uint64                     `json:"reads"`          // reads of keys; of Get an estimate, since one call in 64 is counted
	Writes        uint64                     `json:"writes"`         // operations written through this peer
	Conflicts     uint64                     `json:"conflicts"`      // concurrent writes that lost
	CacheHits     uint64                     `json:"cache_hits"`     // calls of GetAs that the cache answered
	CacheMisses   uint64                     `json:"cache_misses"`   // calls of GetAs that decoded the value
	Invalidated   uint64                     `json:"invalidated"`    // decoded values dropped because their key changed, or by Cache.Invalidate
	CacheSize     int                        `json:"cache_size"`     // decoded values in the cache
	CacheMax      int                        `json:"cache_max"`      // greatest number of decoded values
	Flushes       uint64                     `json:"flushes"`        // batches of writes sent
	PendingWrites int                        `json:"pending_writes"` // deltas that wait to be sent to peers
	Backlog       int                        `json:"backlog"`        // bytes written that wait for the loop
	Subscriptions int                        `json:"subscriptions"`  // subscriptions that are open
	FramesDropped uint64                     `json:"frames_dropped"` // frames dropped because they arrived faster than the loop took them
	LinesDropped  uint64                     `json:"lines_dropped"`  // lines of the log dropped because the handler was too slow
	Vector        clock.Vector               `json:"vector"`         // version vector of all keys, without retired actors, which Store.Retired counts
	Store         crdt.Stats                 `json:"store"`
	Gossip        gossip.Stats               `json:"gossip"`
	Transport     transport.Stats            `json:"transport"`
	Members       map[string]int             `json:"members"`   // number of members by state
	Workers       map[string]int             `json:"workers"`   // number of workers with a heartbeat: active or unreachable
	Problems      map[string]int             `json:"problems"`  // number of problems of peers that are up, by kind
	Packets       map[string]int             `json:"packets"`   // number of peers that are up, by whether datagrams pass; the worse direction counts
	Queues        map[string]workqueue.Stats `json:"queues"`    // by name
	Guarantee     string                     `json:"guarantee"` // guarantee of locks and claims: quorum, best-effort or this-peer
	Blocking      []string                   `json:"blocking"`  // names of peers whose missing acknowledgements keep removals from being collected
}

// Stats returns the current reading. The caller owns its maps and slices.
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
		dots := r.Store().Context()
		for _, actor := range dots.Listed() {
			s.Vector[actor] = dots.Span(actor).Base
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
				s.Packets[Packets{p.PacketsTo.String(), p.PacketsFrom.String()}.worst()]++
			}
		}
		for _, n := range r.Problems() {
			s.Problems[n.Problem.String()]++
		}
	})
	s.Conflicts, s.Flushes, s.PendingWrites = s.Store.Conflicts, s.Gossip.Flushes, s.Gossip.Pending
	return s
}

// Digest returns a hash of the state of this peer's replica and the number of keys in it. Two peers
// have equal hashes when they have seen the same writes and hold the same records.
func (a *Agent) Digest() (hash string, keys int) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) {
		hash, keys = fmt.Sprintf("%016x", r.View().StateHash()), r.Store().Len()
	})
	return hash, keys
}

// Conflicts returns the concurrent writes that lost at keys that match pattern: up to limit of them,
// the newest first. It fails if pattern is not valid, and with ErrClosed.
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
