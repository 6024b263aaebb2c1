package agent

import (
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Cache is a handle on the cache of decoded values that GetAs uses. A value is served only while its
// key is in the very state from which the value was decoded, so GetAs never returns a stale one.
// Config.CacheSize and Config.CacheTTL only bound the memory.
type Cache struct{ a *Agent }

// Cache returns a handle on the cache of decoded values.
func (a *Agent) Cache() Cache { return Cache{a} }

// Len returns how many values the cache holds.
func (c Cache) Len() int { return c.a.mem.Cache().Len() }

// Clear drops all values of the cache. Keys are not changed.
func (c Cache) Clear() {
	c.a.bus.emit(LifecycleEvent{Type: CacheCleared, Count: c.a.mem.Cache().Clear()})
}

// Invalidate drops the values of keys that match pattern, and returns how many it dropped. It fails
// if pattern is not valid: see Agent.Keys.
func (c Cache) Invalidate(pattern string) (int, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return 0, err
	}
	n := c.a.mem.Cache().Invalidate(p.Match)
	c.a.bus.emit(LifecycleEvent{Type: CacheCleared, Count: n})
	return n, nil
}

// GetAs returns the value of key decoded into T. The result may be shared with other callers: the
// caller must not change what its pointers, slices and maps refer to. It fails with ErrNotFound for
// an absent key, with ErrClosed, and if the value does not decode into T.
func GetAs[T any](a *Agent, key string) (T, error) { return memory.As[T](a.mem, key) }
