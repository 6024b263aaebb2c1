package agent

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// WriteOption changes one write.
type WriteOption func(*writeOptions)

type writeOptions struct {
	ttl    time.Duration
	kind   crdt.Kind
	want   *crdt.Version
	vital  bool
	manner manner
}

// manner is how a unit of writes is made.
type manner struct {
	urgent  bool
	reports []report
}

// report asks for the version of key right after the write.
type report struct {
	key  string
	into *crdt.Version
}

// WithTTL makes what is written expire after d, on every peer.
func WithTTL(d time.Duration) WriteOption { return func(o *writeOptions) { o.ttl = d } }

// WithKind gives a key without a rule its type, whatever it is.
func WithKind(k crdt.Kind) WriteOption { return func(o *writeOptions) { o.kind = k } }

// IfVersion writes only if the key is at version v on this peer; 0 means absent.
// Else the write fails with a *crdt.ConflictError.
func IfVersion(v crdt.Version) WriteOption { return func(o *writeOptions) { o.want = &v } }

// Urgent sends the write at once and before others that wait.
func Urgent() WriteOption { return func(o *writeOptions) { o.manner.urgent = true } }

// vital has a full store take the write, a short one, all the same.
func vital() WriteOption { return func(o *writeOptions) { o.vital = true } }

// ReportVersion stores the version the key has right after the write in *v: what a
// later IfVersion must name to fail if anything came in between. v must not be nil.
func ReportVersion(v *crdt.Version) WriteOption {
	return func(o *writeOptions) { o.manner.reports = append(o.manner.reports, report{into: v}) }
}

// prepare applies options to op.
func prepare(op *crdt.Op, opts []WriteOption) (manner, error) {
	if len(opts) == 0 {
		return manner{}, nil
	}
	var o writeOptions
	for _, f := range opts {
		f(&o)
	}
	if o.ttl < 0 {
		return manner{}, fmt.Errorf("key %q: ttl %v: want a positive duration", op.Key, o.ttl)
	}
	for _, r := range o.manner.reports {
		if r.into == nil {
			return manner{}, fmt.Errorf("key %q: ReportVersion has nowhere to store it", op.Key)
		}
	}
	if o.ttl > 0 {
		op.Expiry = uint64(time.Now().Add(o.ttl).UnixMilli())
	}
	op.Kind, op.If, op.Vital = o.kind, o.want, o.vital
	for i := range o.manner.reports {
		o.manner.reports[i].key = op.Key
	}
	return o.manner, nil
}

// write makes ops one unit. It waits, within ctx, while the loop is too far
// behind.
func (a *Agent) write(ctx context.Context, how manner, ops ...crdt.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	size := 0
	for i := range ops {
		size += len(ops[i].Key) + len(ops[i].Value.Raw()) + 128
		for _, v := range ops[i].Values {
			size += len(v.Raw()) + 128
		}
	}
	if err := a.lockWithRoom(ctx); err != nil {
		return err
	}
	err := a.commit(how, size, ops)
	if err == nil {
		a.signal()
	}
	return err
}

// lockWithRoom takes the lock once the loop is not too far behind, or fails.
func (a *Agent) lockWithRoom(ctx context.Context) error {
	a.mu.Lock()
	for a.backlog > a.cfg.MaxBacklog {
		drained := a.drained
		a.mu.Unlock()
		a.signal()
		select {
		case <-drained:
		case <-ctx.Done():
			return fmt.Errorf("too many writes wait to be carried out: %w", ctx.Err())
		case <-a.closing:
			return ErrClosed
		}
		a.mu.Lock()
	}
	if a.isClosed() {
		a.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// commit makes ops, of size bytes, under the lock, which it gives back whatever happens.
func (a *Agent) commit(how manner, size int, ops []crdt.Op) error {
	defer a.mu.Unlock()
	now := time.Now()
	if _, err := a.replica.Write(now, how.urgent, ops...); err != nil {
		return err
	}
	for _, r := range how.reports {
		*r.into = 0
		if e, ok := a.store.Render(r.key, uint64(now.UnixMilli())); ok {
			*r.into = e.Version()
		}
	}
	a.queues.wrote(ops)
	a.writes += uint64(len(ops))
	a.backlog += size
	return nil
}

// Put assigns value to key, by the key's type: that of WithKind, or else of the key's
// rule, or else what the key is here, or else a register. A set takes an array and an
// object a map, which they become; a max takes a number and keeps the greater; a counter
// is not assigned. An assignment by WithKind makes the key another type. value may be a
// crdt.Value, any of Go's natural types, or a struct with msgpack or json tags; it
// is copied. When Put returns, this peer's readers see it.
func (a *Agent) Put(ctx context.Context, key string, value any, opts ...WriteOption) error {
	v, err := crdt.ValueOf(value)
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	op := crdt.Op{Verb: crdt.Put, Key: key, Value: v}
	how, err := prepare(&op, opts)
	if err == nil {
		err = a.write(ctx, how, op)
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

// PutIf is Put with IfVersion, and returns the new version. It decides on this
// peer only: another may decide otherwise at the same moment, and then the merge
// has the last word. For a decision all peers share take a lock.
func (a *Agent) PutIf(ctx context.Context, key string, value any, want crdt.Version, opts ...WriteOption) (crdt.Version, error) {
	var made crdt.Version
	err := a.Put(ctx, key, value, append(slices.Clip(opts), IfVersion(want), ReportVersion(&made))...)
	return made, err
}

// Delete removes key by its type's own rule. Deleting what is absent is no error.
func (a *Agent) Delete(ctx context.Context, key string, opts ...WriteOption) error {
	op := crdt.Op{Verb: crdt.Delete, Key: key}
	how, err := prepare(&op, opts)
	if err == nil {
		err = a.write(ctx, how, op)
	}
	if err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// readSample is how many calls of Get are counted by one of them: a counter that
// all cores share costs more than the read it counts.
const readSample = 64

func (a *Agent) sampleRead() {
	if rand.Uint32()%readSample == 0 {
		a.reads.Add(readSample)
	}
}

// Get returns the value of key on this peer: of a set a sorted array, of an object
// a map, of a counter or max a number, of a custom key what its resolver makes of
// it. It takes no lock, and for a plain register allocates nothing.
func (a *Agent) Get(key string) (crdt.Value, bool) {
	a.sampleRead()
	return a.peek(key)
}

// peek is Get for what this package looks up for itself: it counts as no read.
func (a *Agent) peek(key string) (crdt.Value, bool) {
	e, ok, fresh := a.store.Load(key)
	if fresh && ok && e.Expiry() == 0 && e.Kind() == crdt.Register {
		return e.Value(), true
	}
	if fresh && !ok {
		return crdt.Value{}, false
	}
	if e, ok = a.current(key, e, ok, fresh); !ok {
		return crdt.Value{}, false
	}
	v, err := a.resolve(key, e)
	return v, err == nil
}

// Entry returns what key holds with its version, type, writer and expiry. Of a
// custom key it has the siblings; Resolve gives their value.
func (a *Agent) Entry(key string) (crdt.Entry, bool) {
	a.reads.Add(1)
	return a.entry(key)
}

func (a *Agent) entry(key string) (crdt.Entry, bool) {
	e, ok, fresh := a.store.Load(key)
	return a.current(key, e, ok, fresh)
}

// farOff is how many milliseconds an expiry must lie ahead of the loop's last turn for a
// reader not to look at the clock, which costs more than the read.
const farOff = 60_000

// Alternatives returns what key holds of other types than the one that is read:
// assigned at the same moment, and earlier by their stamps. It is empty mostly.
func (a *Agent) Alternatives(key string) map[crdt.Kind]crdt.Value {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Alternatives(key, uint64(time.Now().UnixMilli()))
}

// Vector returns the version vector of key, which its writes carry: of two readings
// Compare tells which is later, or that the writes between were concurrent.
func (a *Agent) Vector(key string) clock.Vector {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Vector(key)
}

// current returns what key holds now, given what Load returned.
func (a *Agent) current(key string, e crdt.Entry, ok, fresh bool) (crdt.Entry, bool) {
	if fresh && (!ok || e.Expiry() == 0) {
		return e, ok
	}
	if fresh && e.Expiry() > uint64(a.ticked.Load())+farOff {
		return e, true
	}
	now := uint64(time.Now().UnixMilli())
	if fresh && now < e.Expiry() {
		return e, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Render(key, now)
}

// Resolve returns the value of an entry of key; of a custom key, by its resolver.
func (a *Agent) Resolve(key string, e crdt.Entry) (crdt.Value, error) { return a.resolve(key, e) }

func (a *Agent) resolve(key string, e crdt.Entry) (crdt.Value, error) {
	if e.Kind() != crdt.Custom {
		return e.Value(), nil
	}
	siblings := e.Siblings()
	if len(siblings) == 1 {
		return siblings[0].Value, nil
	}
	rule, _ := a.rules.Match(key)
	f := a.cfg.Resolvers[rule.Resolver]
	if f == nil {
		f = latest
	}
	v, err := crdt.ResolveSiblings(f, siblings)
	if err != nil {
		return crdt.Value{}, fmt.Errorf("resolve %q: %w", key, err)
	}
	return v, nil
}

// latest resolves a custom key that no rule here has a resolver for.
func latest(siblings []crdt.Sibling) (crdt.Value, error) {
	return slices.MaxFunc(siblings, func(x, y crdt.Sibling) int {
		return cmp.Or(cmp.Compare(x.Stamp, y.Stamp), x.Dot.Compare(y.Dot))
	}).Value, nil
}

// Keys returns the keys that match pattern, sorted: '*' stands for anything within
// a segment, '**' for any number of segments.
func (a *Agent) Keys(pattern string) ([]string, error) {
	return a.KeysWhere(context.Background(), pattern, nil)
}

// KeysWhere is Keys, of those only that admit lets in, if it is not nil: it is asked before
// the pattern, which may take long. It fails when ctx ends.
func (a *Agent) KeysWhere(ctx context.Context, pattern string, admit func(key string) bool) ([]string, error) {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return nil, err
	}
	if a.isClosed() {
		return nil, ErrClosed
	}
	match := p.Match
	if admit != nil {
		match = func(key string) bool { return admit(key) && p.Match(key) }
	}
	return a.keys(ctx, match)
}

// keysPerLook is how many keys are matched before the context is looked at.
const keysPerLook = 64

// keys returns the keys that hold something and that match, sorted.
func (a *Agent) keys(ctx context.Context, match func(key string) bool) ([]string, error) {
	now := uint64(time.Now().UnixMilli())
	var keys, unsure []string
	seen := 0
	a.store.Keys(func(key string, e crdt.Entry, fresh bool) bool {
		if seen++; seen%keysPerLook == 0 && ctx.Err() != nil {
			return false
		}
		switch {
		case !match(key):
		case fresh && (e.Expiry() == 0 || now < e.Expiry()):
			keys = append(keys, key)
		default:
			unsure = append(unsure, key)
		}
		return true
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, key := range unsure {
		a.mu.Lock()
		_, ok := a.store.Render(key, now)
		a.mu.Unlock()
		if ok {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, strings.Compare)
	return keys, nil
}
