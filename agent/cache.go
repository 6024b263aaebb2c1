package agent

import (
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Cache keeps decoded values for GetAs. An entry is good for as long as the key is
// in the very state it was decoded from, so a reader never gets a stale one; age
// and size only bound the memory.
type Cache struct{ a *Agent }

// Cache returns the cache of decoded values.
func (a *Agent) Cache() Cache { return Cache{a} }

// Len returns how many values are kept.
func (c Cache) Len() int { return c.a.mem.Cache().Len() }

// Clear drops all values.
func (c Cache) Clear() {
	c.a.bus.emit(LifecycleEvent{Type: CacheCleared, Count: c.a.mem.Cache().Clear()})
}

// Invalidate drops the values of keys that match pattern and returns how many.
func (c Cache) Invalidate(pattern string) (int, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return 0, err
	}
	n := c.a.mem.Cache().Invalidate(p.Match)
	c.a.bus.emit(LifecycleEvent{Type: CacheCleared, Count: n})
	return n, nil
}

// GetAs returns the value of key decoded into T. The result may be shared with
// other callers: do not change what its pointers, slices and maps refer to.
// An absent key gives ErrNotFound.
func GetAs[T any](a *Agent, key string) (T, error) { return memory.As[T](a.mem, key) }
