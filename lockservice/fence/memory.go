package fence

import (
	"context"
	"sync"
)

// Memory guards resources of one process, for its life: it remembers one token for
// each name it was ever asked about. The zero Memory is ready to use.
type Memory struct {
	mu      sync.Mutex // guards highest, and keeps writers of Do apart
	highest map[string]uint64
}

// Check admits token if none higher was seen for resource.
func (g *Memory) Check(ctx context.Context, resource string, token uint64) error {
	return g.Do(ctx, resource, token, func() error { return nil })
}

// Do calls write if token is admitted, and returns what it does. No other write goes
// on meanwhile, so none can be overtaken.
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
