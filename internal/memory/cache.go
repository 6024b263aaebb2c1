package memory

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Cache keeps decoded values for As. A value is served only while its key is in the very state
// from which the value was decoded, so a reader never gets a stale one. The age and the number
// of values are bounded to bound the memory, not for correctness. All methods are safe for
// concurrent use.
type Cache struct {
	lru         *lru.Cache[string, *decoded]
	ttl         time.Duration // a value is kept no longer
	size        int           // greatest number of values
	hits        atomic.Uint64
	misses      atomic.Uint64
	invalidated atomic.Uint64 // values dropped before their end: their key changed, or Invalidate
}

// decoded is one value of the cache.
type decoded struct {
	key   string
	entry crdt.Entry   // the state that the value was decoded from
	kind  reflect.Type // type of value
	value any
	until int64 // end of its time to live, Unix milliseconds
}

func newCache(size int, ttl time.Duration) (*Cache, error) {
	l, err := lru.New[string, *decoded](size)
	if err != nil {
		return nil, fmt.Errorf("cache size %d: %w", size, err)
	}
	return &Cache{lru: l, ttl: ttl, size: size}, nil
}

// Cache returns the cache of decoded values.
func (m *Memory) Cache() *Cache { return m.cache }

// Len returns how many values the cache holds.
func (c *Cache) Len() int { return c.lru.Len() }

// Clear drops all values and returns how many there were.
func (c *Cache) Clear() int {
	n := c.lru.Len()
	c.lru.Purge()
	return n
}

// Invalidate drops the values of keys for which match returns true, and returns how many it
// dropped.
func (c *Cache) Invalidate(match func(key string) bool) (n int) {
	for _, key := range c.lru.Keys() {
		if match(key) && c.lru.Remove(key) {
			n++
		}
	}
	c.invalidated.Add(uint64(n))
	return n
}

// Changed drops the decoded values of keys that changed. It keeps a value that a reader has
// decoded after the change.
func (m *Memory) Changed(changes []crdt.Change) {
	c := m.cache
	if c.lru.Len() == 0 {
		return
	}
	for i := range changes {
		key := changes[i].Key
		d, cached := c.lru.Peek(key)
		if !cached {
			continue
		}
		if e, ok, fresh := m.store.Load(key); ok && fresh && e.Same(d.entry) {
			continue
		}
		if now, cached := c.lru.Peek(key); cached && now == d && c.lru.Remove(key) { // if now is not d, a reader has replaced it
			c.invalidated.Add(1)
		}
	}
}

// Describe fills in what changed of large sets and objects: see crdt.Store.Describe.
func (m *Memory) Describe(changes []crdt.Change) {
	if slices.ContainsFunc(changes, func(c crdt.Change) bool { return c.Lazy }) {
		m.lock()
		defer m.mu.Unlock()
		m.store.Describe(changes, uint64(time.Now().UnixMilli()))
	}
}

// As returns the value of key decoded into T. The result may be shared with other callers: the
// caller must not change what its pointers, slices and maps refer to. As fails with ErrNotFound
// for an absent key, with ErrClosed, and if the value does not decode into T.
func As[T any](m *Memory, key string) (T, error) {
	if v, ok := Cached[T](m, key); ok {
		return v, nil
	}
	var value T
	if m.Closed() {
		return value, ErrClosed
	}
	e, ok := m.Entry(key)
	if !ok {
		return value, fmt.Errorf("get %q: %w", key, ErrNotFound)
	}
	m.cache.misses.Add(1)
	v, err := m.Resolve(key, e)
	if err != nil {
		return value, err
	}
	if err := v.Decode(&value); err != nil {
		return value, fmt.Errorf("get %q: %w", key, err)
	}
	if any(value) != nil {
		m.cache.lru.Add(key, &decoded{key, e, reflect.TypeFor[T](), value, time.Now().Add(m.cache.ttl).UnixMilli()})
	}
	return value, nil
}

// Cached returns the value of key if the cache has it decoded into T and the key is still in the
// state that it was decoded from. It neither retains key nor allocates.
func Cached[T any](m *Memory, key string) (value T, ok bool) {
	c := m.cache
	d, ok := c.lru.Get(key)
	if !ok || d.kind != reflect.TypeFor[T]() || m.ticked.Load() >= d.until || m.Closed() {
		return value, false
	}
	if e, ok := m.PeekEntry(d.key); !ok || !e.Same(d.entry) {
		return value, false
	}
	m.sampleRead()
	c.hits.Add(1)
	return d.value.(T), true
}
