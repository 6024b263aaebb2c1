package memory

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// ReadSample is the number by which one call of Get in as many raises the counter of reads. The
// counter is sampled because a counter that all cores share costs more than the read it counts.
const ReadSample = 64

// sampleRead counts a read with a probability of 1/ReadSample.
func (m *Memory) sampleRead() {
	if rand.Uint32()%ReadSample == 0 {
		m.reads.Add(ReadSample)
	}
}

// Get returns the value of key; false if the key is absent. For a plain register without an expiry
// it takes no lock and allocates nothing.
func (m *Memory) Get(key string) (crdt.Value, bool) {
	m.sampleRead()
	return m.Peek(key)
}

// Peek is Get for the peer's own use: the counter of reads does not count it.
func (m *Memory) Peek(key string) (crdt.Value, bool) {
	e, ok, fresh := m.store.Load(key)
	if fresh && ok && e.Expiry() == 0 && e.Kind() == crdt.Register {
		return e.Value(), true
	}
	if fresh && !ok {
		return crdt.Value{}, false
	}
	if e, ok = m.current(key, e, ok, fresh); !ok {
		return crdt.Value{}, false
	}
	v, err := m.Resolve(key, e)
	return v, err == nil
}

// Entry returns the entry of key; false if the key is absent. The counter of reads counts it.
func (m *Memory) Entry(key string) (crdt.Entry, bool) {
	m.reads.Add(1)
	return m.PeekEntry(key)
}

// PeekEntry is Entry for the peer's own use: the counter of reads does not count it.
func (m *Memory) PeekEntry(key string) (crdt.Entry, bool) {
	e, ok, fresh := m.store.Load(key)
	return m.current(key, e, ok, fresh)
}

// farOff is the least distance, in milliseconds, from the latest Turn to an expiry at which a
// reader does not read the clock. Reading the clock costs more than reading the key, and turns are
// much less than a minute apart.
const farOff = 60_000

// current returns the entry that key has now. Its other arguments are what Load returned for key.
// An entry that has expired, or that the store did not publish, is rendered: a small one with the lock
// held.
func (m *Memory) current(key string, e crdt.Entry, ok, fresh bool) (crdt.Entry, bool) {
	if fresh && (!ok || e.Expiry() == 0) {
		return e, ok
	}
	if fresh && e.Expiry() > uint64(m.ticked.Load())+farOff {
		return e, true
	}
	now := uint64(time.Now().UnixMilli())
	if fresh && now < e.Expiry() {
		return e, true
	}
	e, ok, large := m.renderSmall(key, now)
	if large {
		return m.renderLarge(key)
	}
	return e, ok
}

// renderSmall renders key with the lock held, unless it is a large key that must be rendered.
func (m *Memory) renderSmall(key string, now uint64) (e crdt.Entry, ok, large bool) {
	m.lock()
	defer m.mu.Unlock()
	if m.store.Probe(key, now).Stale() {
		return crdt.Entry{}, false, true
	}
	e, ok = m.store.Render(key, now)
	return e, ok, false
}

// renderLarge renders a large key without the lock, from a snapshot. Readers render such keys one at a
// time, so that those who wait for one key share the result.
func (m *Memory) renderLarge(key string) (crdt.Entry, bool) {
	m.rendering.Lock()
	defer m.rendering.Unlock()
	m.lock()
	now := uint64(time.Now().UnixMilli())
	x := m.store.Probe(key, now).Snapshot()
	if x == nil { // another reader has rendered the key, or it is not large any more
		defer m.mu.Unlock()
		return m.store.Render(key, now)
	}
	m.mu.Unlock()
	e, ok := x.Render()
	m.lock()
	defer m.mu.Unlock()
	x.Publish()
	return e, ok
}

// Typed returns the value of key, the zero Value if key is absent. It fails with a *crdt.TypeError
// if key is of another kind, with a *crdt.KeyError, with ErrClosed, and with the resolver's error.
func (m *Memory) Typed(key string, kind crdt.Kind) (crdt.Value, error) {
	if m.Closed() {
		return crdt.Value{}, ErrClosed
	}
	if err := crdt.ValidateKey(key); err != nil {
		return crdt.Value{}, err
	}
	e, ok := m.Entry(key)
	if !ok {
		return crdt.Value{}, nil
	}
	if e.Kind() != kind {
		return crdt.Value{}, &crdt.TypeError{Key: key, Want: kind, Have: e.Kind()}
	}
	return m.Resolve(key, e)
}

// Probe calls f with the lock held and with the probe of key, unless key is absent. It fails as Typed
// does.
func (m *Memory) Probe(key string, kind crdt.Kind, f func(p crdt.Probe)) error {
	if m.Closed() {
		return ErrClosed
	}
	if err := crdt.ValidateKey(key); err != nil {
		return err
	}
	m.reads.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.store.Probe(key, uint64(time.Now().UnixMilli()))
	switch have := p.Kind(); have {
	case 0:
	case kind:
		f(p)
	default:
		return &crdt.TypeError{Key: key, Want: kind, Have: have}
	}
	return nil
}

// smallValue is the length in bytes up to which a search through a rendered object costs no more
// than the lock.
const smallValue = 1 << 10

// Field returns the value at path inside the object at key, the zero Value if there is none. Unless
// the value is an object or a set itself, the cost does not depend on the size of the object. It
// fails as Typed does.
func (m *Memory) Field(key string, path []string) (v crdt.Value, err error) {
	known := false
	if e, ok, fresh := m.store.Load(key); !ok || !fresh || len(e.Value().Raw()) > smallValue {
		err = m.Probe(key, crdt.Object, func(p crdt.Probe) { v, known = p.Field(path) })
	}
	if known || err != nil {
		return v, err
	}
	v, err = m.Typed(key, crdt.Object)
	for _, name := range path {
		v = v.Field(name)
	}
	return v, err
}

// Page returns a page of the set or object at path inside key, which is of the given kind: up to limit
// entries, at least one, behind the element or the name after, and the first ones if after is absent. The page of a
// large key costs what is on it, except that the first page sorts the key. It fails as Typed does,
// and with a *crdt.TypeError if there is a value of another kind at path.
func (m *Memory) Page(key string, kind crdt.Kind, path []string, after crdt.Value, limit int) (crdt.Page, error) {
	slots := func(yield func(string) bool) {
		m.lock()
		all := m.store.Probe(key, uint64(time.Now().UnixMilli())).Slots()
		m.mu.Unlock()
		all(yield)
	}
	for limit = max(limit, 1); ; {
		var place crdt.Place
		large := false
		if err := m.Probe(key, kind, func(p crdt.Probe) { place, large = p.Place(path, slots) }); err != nil {
			return crdt.Page{}, err
		}
		if !large {
			return m.pageOfValue(key, kind, path, after, limit)
		}
		x := place.After(after, limit)
		m.Do(func(_ *replica.Replica, now time.Time) { m.store.Probe(key, uint64(now.UnixMilli())).Fill(x) })
		page := x.Page()
		if len(page.Values) > 0 || page.Next.IsZero() {
			return page, nil
		}
		after = page.Next
	}
}

// pageOfValue is Page for a key that is rendered as a whole.
func (m *Memory) pageOfValue(key string, kind crdt.Kind, path []string, after crdt.Value, limit int) (crdt.Page, error) {
	read := func() (crdt.Value, error) { return m.Typed(key, kind) }
	if len(path) > 0 {
		read = func() (crdt.Value, error) { return m.Field(key, path) }
	}
	v, err := read()
	if err != nil || v.IsZero() {
		return crdt.Page{}, err
	}
	page := crdt.PageOf(v, after, limit)
	if page.Kind == 0 {
		err = &crdt.TypeError{Key: key, Want: crdt.Object, Have: crdt.Register}
	}
	return page, err
}

// Version returns the version of key, 0 if the key is absent, and whether the key is a set or an
// object of more than crdt.WholeBytes. Its cost does not depend on the size of the value.
func (m *Memory) Version(key string) (v crdt.Version, large bool) {
	m.reads.Add(1)
	if e, ok, fresh := m.store.Load(key); fresh && e.Expiry() == 0 {
		if !ok {
			return 0, false
		}
		if k := e.Kind(); k != crdt.Set && k != crdt.Object {
			return e.Version(), false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.store.Probe(key, uint64(time.Now().UnixMilli()))
	return p.Version(), p.Large()
}

// Resolve returns the value of e, an entry of key. The resolver of a custom key decides between its
// siblings; the call fails with the error that the resolver returns.
func (m *Memory) Resolve(key string, e crdt.Entry) (crdt.Value, error) {
	if e.Kind() != crdt.Custom {
		return e.Value(), nil
	}
	siblings := e.Siblings()
	if len(siblings) == 1 {
		return siblings[0].Value, nil
	}
	rule, _ := m.cfg.Replica.Rules.Match(key)
	f := m.cfg.Resolvers[rule.Resolver]
	if f == nil {
		f = latest
	}
	v, err := crdt.ResolveSiblings(f, siblings)
	if err != nil {
		return crdt.Value{}, fmt.Errorf("resolve %q: %w", key, err)
	}
	return v, nil
}

// latest is the resolver of a custom key for which this peer has none: the latest write wins.
func latest(siblings []crdt.Sibling) (crdt.Value, error) {
	return slices.MaxFunc(siblings, func(x, y crdt.Sibling) int {
		return cmp.Or(cmp.Compare(x.Stamp, y.Stamp), x.Dot.Compare(y.Dot))
	}).Value, nil
}

// keysPerLook is the number of keys after which Walk looks at its context.
const keysPerLook = 64

// Walk calls visit for the entries of the keys in ranges that match, in the order of the keys,
// until visit returns false. The ranges are disjoint and in order. Walk fails when ctx ends. It
// holds no lock while it calls match and visit. Its cost grows with the number of keys in ranges.
func (m *Memory) Walk(ctx context.Context, ranges []crdt.KeyRange, match func(key string) bool, visit func(key string, e crdt.Entry) bool) error {
	seen, goesOn := 0, true
	for _, r := range ranges {
		m.store.Ascend(r, func(key string, e crdt.Entry, fresh bool) bool {
			if seen++; seen%keysPerLook == 0 && ctx.Err() != nil {
				return false
			}
			if match(key) {
				if e, ok := m.current(key, e, true, fresh); ok {
					goesOn = visit(key, e)
				}
			}
			return goesOn
		})
		if !goesOn {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
