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

// WithTTL makes what is written expire after d, on every peer. d must not be negative; 0 is no TTL.
func WithTTL(d time.Duration) WriteOption { return func(o *memory.Options) { o.TTL = d } }

// WithKind makes Put give the key the type k, whatever type it had. It fails with a *crdt.TypeError
// if the rule of the key names another type.
func WithKind(k crdt.Kind) WriteOption { return func(o *memory.Options) { o.Kind = k } }

// IfVersion makes the write fail with a *crdt.ConflictError unless the key has version v on this
// peer. Version 0 means that the key is absent.
func IfVersion(v crdt.Version) WriteOption { return func(o *memory.Options) { o.If = &v } }

// Urgent sends the write at once, and before other writes that wait to be sent.
func Urgent() WriteOption { return func(o *memory.Options) { o.Urgent = true } }

// ReportVersion stores in *v the version that the key has right after the write. A later write with
// IfVersion(*v) fails if the key was written in between. v must not be nil.
func ReportVersion(v *crdt.Version) WriteOption {
	return func(o *memory.Options) { o.Reports = append(o.Reports, v) }
}

// Put assigns value to key, by the key's type: the type of WithKind, or else that of the key's
// rule, or else the type that the key has here, or else a register. A set becomes the elements of
// an array, and an object the fields of a map. A max takes a number and keeps the greater one. A
// counter cannot be assigned. WithKind changes the type of a key without a rule.
//
// value may be a crdt.Value, a bool, number, string, byte slice, slice or map of these, or a struct
// with msgpack or json tags. It is copied. When Put returns, readers of this peer see the value.
// Put fails with the errors that are listed at ErrClosed, and with ctx's error if the peer has not
// carried out earlier writes (Config.MaxBacklog) before ctx ends.
func (a *Agent) Put(ctx context.Context, key string, value any, opts ...WriteOption) error {
	if err := a.mem.Assign(ctx, crdt.Op{Verb: crdt.Put, Key: key}, value, opts); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

// PutIf is Put with IfVersion(want), and returns the new version. The condition holds on this peer
// only: another peer may write the key at the same moment, and then the merge decides which value
// every peer keeps. A decision that all peers must share needs a lock: see Locks.
func (a *Agent) PutIf(ctx context.Context, key string, value any, want crdt.Version, opts ...WriteOption) (crdt.Version, error) {
	var made crdt.Version
	err := a.Put(ctx, key, value, append(slices.Clip(opts), IfVersion(want), ReportVersion(&made))...)
	return made, err
}

// Delete removes key, by the rule of its type. Deleting an absent key is no error.
func (a *Agent) Delete(ctx context.Context, key string, opts ...WriteOption) error {
	if err := a.mem.Assign(ctx, crdt.Op{Verb: crdt.Delete, Key: key}, nil, opts); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// deadline returns the operation that makes key end ttl from now.
func deadline(key string, ttl time.Duration) (crdt.Op, error) {
	if ttl < time.Millisecond {
		return crdt.Op{}, fmt.Errorf("ttl %v: want 1ms or more", ttl)
	}
	return crdt.Op{Verb: crdt.Expire, Key: key, Expiry: uint64(time.Now().Add(ttl).UnixMilli())}, nil
}

// Get returns the value of key on this peer; false if the key is absent. The value of a set is a
// sorted array, that of an object a map, and that of a counter or max a number. The value of a
// custom key is the result of its resolver; false if that fails. For a register without an expiry
// Get takes no lock and allocates nothing.
func (a *Agent) Get(key string) (crdt.Value, bool) { return a.mem.Get(key) }

// Entry returns the value of key with its version, type, writer and expiry; false if the key is
// absent. The entry of a custom key has the siblings, of which Resolve makes the value.
func (a *Agent) Entry(key string) (crdt.Entry, bool) { return a.mem.Entry(key) }

// Version returns the version of key, 0 if the key is absent, and whether the key is a set or an
// object of more than crdt.WholeBytes, whose events are partial. Its cost does not depend on the
// size of the value.
func (a *Agent) Version(key string) (v crdt.Version, large bool) { return a.mem.Version(key) }

// Alternatives returns the values that key has of types other than the one that readers see. Such a
// value remains when peers concurrently assign key different types: readers see the type with the
// greatest stamp. The result is empty for most keys.
func (a *Agent) Alternatives(key string) (values map[crdt.Kind]crdt.Value) {
	a.mem.Do(func(r *replica.Replica, now time.Time) { values = r.Store().Alternatives(key, uint64(now.UnixMilli())) })
	return values
}

// Vector returns the version vector of key. Comparing two readings tells which of them is later, or
// that they were concurrent: see clock.Vector.
func (a *Agent) Vector(key string) (v clock.Vector) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) { v = r.Store().Vector(key) })
	return v
}

// Resolve returns the value of e, an entry of key. The resolver of a custom key decides between its
// siblings; the call fails with the error that the resolver returns.
func (a *Agent) Resolve(key string, e crdt.Entry) (crdt.Value, error) { return a.mem.Resolve(key, e) }

// Keys returns the keys that match pattern, in the order of their bytes. '*' stands for any text
// within a segment, '**' for any number of segments.
func (a *Agent) Keys(pattern string) (keys []string, err error) {
	err = a.Walk(context.Background(), pattern, "", nil, func(key string, _ crdt.Entry) bool {
		keys = append(keys, key)
		return true
	})
	return keys, err
}

// Walk calls visit for the keys behind after that match pattern, in the order of their bytes, with
// what they hold, until visit returns false. If admit is not nil, only keys that it admits are
// matched. Walk holds no lock meanwhile; keys that come or go during the walk may be missed. Its
// cost grows with the number of keys that share the literal text with which pattern starts, and
// with that of the keys that were made or removed since the last walk. Walk fails if pattern is
// malformed, with ErrClosed, and when ctx ends.
func (a *Agent) Walk(ctx context.Context, pattern, after string, admit func(key string) bool, visit func(key string, e crdt.Entry) bool) error {
	p, err := crdt.CompilePattern(pattern)
	if err != nil {
		return err
	}
	if a.mem.Closed() {
		return ErrClosed
	}
	match := p.Match
	if admit != nil {
		match = func(key string) bool { return admit(key) && p.Match(key) }
	}
	return a.mem.Walk(ctx, crdt.Behind(p.Ranges(), after), match, visit)
}
