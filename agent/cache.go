package agent

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Cache keeps decoded values for GetAs. An entry is good for as long as the key is
// in the very state it was decoded from, so a reader never gets a stale one; age
// and size only bound the memory.
type Cache struct {
	lru         *lru.Cache[string, *decoded]
	ttl         time.Duration
	size        int
	hits        atomic.Uint64
	misses      atomic.Uint64
	invalidated atomic.Uint64
	onChange    func(n int)
}

type decoded struct {
	key   string
	entry crdt.Entry
	kind  reflect.Type
	value any
	until int64 // Unix milliseconds
}

func newCache(size int, ttl time.Duration) (*Cache, error) {
	l, err := lru.New[string, *decoded](size)
	if err != nil {
		return nil, fmt.Errorf("cache size %d: %w", size, err)
	}
	return &Cache{lru: l, ttl: ttl, size: size}, nil
}

// Cache returns the cache of decoded values.
func (a *Agent) Cache() *Cache { return a.cache }

// Len returns how many values are kept.
func (c *Cache) Len() int { return c.lru.Len() }

// Clear drops all values.
func (c *Cache) Clear() {
	n := c.lru.Len()
	c.lru.Purge()
	c.onChange(n)
}

// Invalidate drops the values of keys that match pattern and returns how many.
func (c *Cache) Invalidate(pattern string) (int, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, key := range c.lru.Keys() {
		if p.Match(key) && c.lru.Remove(key) {
			n++
		}
	}
	c.invalidated.Add(uint64(n))
	c.onChange(n)
	return n, nil
}

// changed drops what replication or a local write has made old; a value may have
// been decoded since.
func (c *Cache) changed(store *crdt.Store, changes []crdt.Change) {
	if c.lru.Len() == 0 {
		return
	}
	for i := range changes {
		key := changes[i].Key
		d, cached := c.lru.Peek(key)
		if !cached {
			continue
		}
		if e, ok, fresh := store.Load(key); ok && fresh && e.Same(d.entry) {
			continue
		}
		if c.lru.Remove(key) {
			c.invalidated.Add(1)
		}
	}
}

// GetAs returns the value of key decoded into T. The result may be shared with
// other callers: do not change what its pointers, slices and maps refer to.
// An absent key gives ErrNotFound.
func GetAs[T any](a *Agent, key string) (T, error) {
	if v, ok := cached[T](a, key); ok {
		return v, nil
	}
	var value T
	if a.isClosed() {
		return value, ErrClosed
	}
	e, ok := a.Entry(key)
	if !ok {
		return value, fmt.Errorf("get %q: %w", key, ErrNotFound)
	}
	a.cache.misses.Add(1)
	v, err := a.resolve(key, e)
	if err != nil {
		return value, err
	}
	if err := v.Decode(&value); err != nil {
		return value, fmt.Errorf("get %q: %w", key, err)
	}
	if any(value) != nil {
		a.cache.lru.Add(key, &decoded{key, e, reflect.TypeFor[T](), value, time.Now().Add(a.cache.ttl).UnixMilli()})
	}
	return value, nil
}

// cached returns the value of key if it was decoded into T before and the key is
// still in that state. It neither keeps key nor allocates.
func cached[T any](a *Agent, key string) (value T, ok bool) {
	c := a.cache
	d, ok := c.lru.Get(key)
	if !ok || d.kind != reflect.TypeFor[T]() || a.ticked.Load() >= d.until || a.isClosed() {
		return value, false
	}
	if e, ok := a.entry(d.key); !ok || !e.Same(d.entry) {
		return value, false
	}
	a.sampleRead()
	c.hits.Add(1)
	return d.value.(T), true
}
