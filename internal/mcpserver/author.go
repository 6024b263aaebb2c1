package mcpserver

import (
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// sign returns what a transaction that writes key writes beside it: a record of the author.
func (c *call) sign(key string, ttl time.Duration) func(tx *agent.Tx) {
	by, created := c.writer, time.Now()
	if e, ok := c.s.cfg.Agent.Entry(key); ok {
		_, created = c.s.authorOf(key, e)
	}
	by.Created = created.UnixMilli()
	var opts []agent.WriteOption
	if ttl > 0 {
		opts = append(opts, agent.WithTTL(ttl))
	}
	return func(tx *agent.Tx) { tx.Put(authors+key, by, opts...) }
}

// authorOf returns the author of a key's value, and when the key was created.
func (s *Server) authorOf(key string, e crdt.Entry) (by author, created time.Time) {
	created = e.Stamp().Time()
	peer := s.cfg.Agent.WriterName(e.Dot().Actor)
	other := author{peer: peer}
	sig, ok := s.cfg.Agent.Entry(authors + key)
	if !ok || sig.Value().Decode(&by) != nil {
		return other, created
	}
	if by.Created > 0 && by.Created < created.UnixMilli() {
		created = time.UnixMilli(by.Created)
	}
	by.peer, other.Tags = peer, by.Tags
	if sig.Stamp() != e.Stamp() || sig.Dot().Actor != e.Dot().Actor { // the key was written since, without a tool
		return other, created
	}
	return by, created
}

// reads counts how often each key was retrieved through this daemon.
type reads struct {
	mu sync.Mutex
	by map[string]uint64
}

// maxCounted bounds the keys whose reads are counted. Beyond it, each new key replaces one that is
// counted.
const maxCounted = 1 << 16

func (r *reads) count(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.by[key]; !known && len(r.by) >= maxCounted {
		for other := range r.by {
			delete(r.by, other)
			break
		}
	}
	r.by[key]++
}

func (r *reads) of(key string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[key]
}
