package httpapi

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is what a server has done and is doing. The maps belong to the caller.
type Stats struct {
	Requests    map[string]uint64 // by operation, or by the pattern of a mounted handler
	Refused     map[string]uint64 // answers that were a problem, by its code; for "malformed" and "connections" there was no answer
	Running     int               // requests under way, without streams
	Streams     int               // event streams, and requests that wait for a lock or an item
	Connections int
}

// counters are the counters behind Stats. The map of requests is filled before the server starts.
type counters struct {
	requests map[string]*atomic.Uint64

	mu      sync.Mutex // guards refused
	refused map[string]uint64
}

func newCounters() *counters {
	return &counters{requests: map[string]*atomic.Uint64{}, refused: map[string]uint64{}}
}

// of returns the counter for the requests of one name.
func (c *counters) of(name string) *atomic.Uint64 {
	if c.requests[name] == nil {
		c.requests[name] = new(atomic.Uint64)
	}
	return c.requests[name]
}

func (c *counters) refuse(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[code]++
}

// Stats returns the counters since the start of the server, and its present state.
func (s *Server) Stats() Stats {
	out := Stats{
		Requests:    make(map[string]uint64, len(s.counters.requests)),
		Running:     int(s.load.requests.Load()),
		Streams:     int(s.load.streams.Load()),
		Connections: s.door.places.Taken() + s.door.spare.Taken(),
	}
	for name, n := range s.counters.requests {
		out.Requests[name] = n.Load()
	}
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	out.Refused = maps.Clone(s.counters.refused)
	return out
}
