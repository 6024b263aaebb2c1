package fence

import (
	"context"
	"sync"
)

// Memory guards resources of one process in memory. It keeps one token for each resource it was
// ever asked about, and forgets nothing until it is dropped. The zero Memory is ready to use.
type Memory struct {
	mu      sync.Mutex // guards highest; held while a write of Do runs
	highest map[string]uint64
}

// Check admits token if no higher one was seen for resource, and else returns a *StaleError.
func (g *Memory) Check(ctx context.Context, resource string, token uint64) error {
	return g.Do(ctx, resource, token, func() error { return nil })
}

// Do calls write if token is admitted, and returns its error. Writes of one Memory run one after
// the other, so that a stale write cannot come after a later holder's.
func (g *Memory) Do(_ context.Context, resource string, token uint64, write func() error) error {
	if err := validate(resource, token); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if high := g.highest[resource]; token < high {
		return &StaleError{resource, token, high}
	}
	if g.highest == nil {
		g.highest = make(map[string]uint64)
	}
	g.highest[resource] = token
	return write()
}
