package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// WriteOption changes one write.
type WriteOption = memory.Option

// WithTTL makes what is written expire after d, on every peer.
func WithTTL(d time.Duration) WriteOption { return func(o *memory.Options) { o.TTL = d } }

// WithKind gives a key without a rule its type, whatever it is.
func WithKind(k crdt.Kind) WriteOption { return func(o *memory.Options) { o.Kind = k } }

// IfVersion writes only if the key is at version v on this peer; 0 means absent.
// Else the write fails with a *crdt.ConflictError.
func IfVersion(v crdt.Version) WriteOption { return func(o *memory.Options) { o.If = &v } }

// Urgent sends the write at once and before others that wait.
func Urgent() WriteOption { return func(o *memory.Options) { o.Urgent = true } }

// ReportVersion stores the version the key has right after the write in *v: what a
// later IfVersion must name to fail if anything came in between. v must not be nil.
func ReportVersion(v *crdt.Version) WriteOption {
	return func(o *memory.Options) { o.Reports = append(o.Reports, v) }
}

// Put assigns value to key, by the key's type: that of WithKind, or else of the key's
// rule, or else what the key is here, or else a register. A set takes an array and an
// object a map, which they become; a max takes a number and keeps the greater; a counter
// is not assigned. An assignment by WithKind makes the key another type. value may be a
// crdt.Value, any of Go's natural types, or a struct with msgpack or json tags; it
// is copied. When Put returns, this peer's readers see it.
func (a *Agent) Put(ctx context.Context, key string, value any, opts ...WriteOption) error {
	if err := a.mem.Assign(ctx, crdt.Op{Verb: crdt.Put, Key: key}, value, opts); err != nil {
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
	if err := a.mem.Assign(ctx, crdt.Op{Verb: crdt.Delete, Key: key}, nil, opts); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// Get returns the value of key on this peer: of a set a sorted array, of an object
// a map, of a counter or max a number, of a custom key what its resolver makes of
// it. It takes no lock, and for a plain register allocates nothing.
func (a *Agent) Get(key string) (crdt.Value, bool) { return a.mem.Get(key) }

// Entry returns what key holds with its version, type, writer and expiry. Of a
// custom key it has the siblings; Resolve gives their value.
func (a *Agent) Entry(key string) (crdt.Entry, bool) { return a.mem.Entry(key) }

// Alternatives returns what key holds of other types than the one that is read:
// assigned at the same moment, and earlier by their stamps. It is empty mostly.
func (a *Agent) Alternatives(key string) (values map[crdt.Kind]crdt.Value) {
	a.mem.Do(func(r *replica.Replica, now time.Time) { values = r.Store().Alternatives(key, uint64(now.UnixMilli())) })
	return values
}

// Vector returns the version vector of key, which its writes carry: of two readings
// Compare tells which is later, or that the writes between were concurrent.
func (a *Agent) Vector(key string) (v clock.Vector) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) { v = r.Store().Vector(key) })
	return v
}

// Resolve returns the value of an entry of key; of a custom key, by its resolver.
func (a *Agent) Resolve(key string, e crdt.Entry) (crdt.Value, error) { return a.mem.Resolve(key, e) }

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
	if a.mem.Closed() {
		return nil, ErrClosed
	}
	match := p.Match
	if admit != nil {
		match = func(key string) bool { return admit(key) && p.Match(key) }
	}
	return a.mem.Keys(ctx, match)
}
