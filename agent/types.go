package agent

import (
	"context"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Set is a key that holds unique values. Of a concurrent add and remove of one
// value, the add wins. Make one with Agent.Set.
type Set struct {
	a   *Agent
	key string
}

// Set returns a handle on the set at key.
func (a *Agent) Set(key string) Set { return Set{a, key} }

// Add adds values; those already there are refreshed.
func (s Set) Add(ctx context.Context, values ...any) error {
	return elements(ctx, s.a, crdt.Add, s.key, nil, values)
}

// Remove removes values as far as this peer has seen them added.
func (s Set) Remove(ctx context.Context, values ...any) error {
	return elements(ctx, s.a, crdt.Remove, s.key, nil, values)
}

func elements(ctx context.Context, a *Agent, verb crdt.Verb, key string, path []string, values []any) error {
	op := crdt.Op{Verb: verb, Key: key, Path: path, Values: make([]crdt.Value, 0, len(values))}
	for _, x := range values {
		v, err := crdt.ValueOf(x)
		if err != nil {
			return fmt.Errorf("set %q: %w", key, err)
		}
		op.Values = append(op.Values, v)
	}
	if err := a.mem.Write(ctx, memory.Manner{}, op); err != nil {
		return fmt.Errorf("set %q: %w", key, err)
	}
	return nil
}

// Values returns the values, sorted; none if the key is absent.
func (s Set) Values() ([]crdt.Value, error) {
	v, err := s.a.mem.Typed(s.key, crdt.Set)
	if err != nil || v.IsZero() {
		return nil, err
	}
	return v.Elements(), nil
}

// Contains reports whether value is in the set.
func (s Set) Contains(value any) (bool, error) {
	want, err := crdt.ValueOf(value)
	if err != nil {
		return false, err
	}
	values, err := s.Values()
	for _, v := range values {
		if v == want {
			return true, err
		}
	}
	return false, err
}

// Clear removes every value seen here.
func (s Set) Clear(ctx context.Context) error { return s.a.Delete(ctx, s.key) }

// Counter is a key that holds a number, the sum of what all peers added.
type Counter struct {
	a   *Agent
	key string
}

// Counter returns a handle on the counter at key.
func (a *Agent) Counter(key string) Counter { return Counter{a, key} }

// Add adds n, which may be negative. What would carry the sum beyond an int64 is refused
// with a *crdt.ValueError; where peers do so together, the sum stops there.
func (c Counter) Add(ctx context.Context, n int64) error {
	if err := c.a.mem.Write(ctx, memory.Manner{}, crdt.Op{Verb: crdt.Increment, Key: c.key, Delta: n}); err != nil {
		return fmt.Errorf("counter %q: %w", c.key, err)
	}
	return nil
}

// Value returns the sum, 0 if the key is absent.
func (c Counter) Value() (int64, error) {
	var n int64
	v, err := c.a.mem.Typed(c.key, crdt.Counter)
	if err == nil && !v.IsZero() {
		err = v.Decode(&n)
	}
	return n, err
}

// Reset removes what this peer has seen counted. Who counts at the same moment
// brings its own part back: reset while nobody counts.
func (c Counter) Reset(ctx context.Context) error { return c.a.Delete(ctx, c.key) }

// Max is a key that holds the greatest number any peer gave it.
type Max struct {
	a   *Agent
	key string
}

// Max returns a handle on the maximum at key.
func (a *Agent) Max(key string) Max { return Max{a, key} }

// Bump raises the maximum to n, an integer or float; a lower n changes nothing.
func (m Max) Bump(ctx context.Context, n any) error {
	v, err := crdt.ValueOf(n)
	if err == nil {
		err = m.a.mem.Write(ctx, memory.Manner{}, crdt.Op{Verb: crdt.Bump, Key: m.key, Value: v})
	}
	if err != nil {
		return fmt.Errorf("max %q: %w", m.key, err)
	}
	return nil
}

// Value returns the maximum, absent if the key is.
func (m Max) Value() (crdt.Value, error) { return m.a.mem.Typed(m.key, crdt.Max) }

// Object is a key that holds named leaves. Edits of different leaves on different
// peers both survive.
type Object struct {
	a   *Agent
	key string
}

// Object returns a handle on the object at key.
func (a *Agent) Object(key string) Object { return Object{a, key} }

// Patch merges fields, a map or struct, into the object: nested maps field by
// field, arrays as sets by union; nil removes a field. An object without fields stays.
func (o Object) Patch(ctx context.Context, fields any, opts ...WriteOption) error {
	return o.write(ctx, crdt.Op{Verb: crdt.Patch}, fields, opts)
}

// Replace makes the object exactly fields, a map or struct.
func (o Object) Replace(ctx context.Context, fields any, opts ...WriteOption) error {
	return o.write(ctx, crdt.Op{Verb: crdt.Put}, fields, append(opts[:len(opts):len(opts)], WithKind(crdt.Object)))
}

// Put assigns one leaf, or a whole value below path; without a path it is Replace. At a
// path nil removes what is there.
func (o Object) Put(ctx context.Context, value any, path ...string) error {
	if len(path) == 0 {
		return o.Replace(ctx, value)
	}
	return o.write(ctx, crdt.Op{Verb: crdt.Put, Path: path}, value, nil)
}

func (o Object) write(ctx context.Context, op crdt.Op, value any, opts []WriteOption) error {
	op.Key = o.key
	if err := o.a.mem.Assign(ctx, op, value, opts); err != nil {
		return fmt.Errorf("object %q: %w", o.key, err)
	}
	return nil
}

// Add adds values to the set at path.
func (o Object) Add(ctx context.Context, path []string, values ...any) error {
	return elements(ctx, o.a, crdt.Add, o.key, path, values)
}

// Remove removes values from the set at path, which stays without them.
func (o Object) Remove(ctx context.Context, path []string, values ...any) error {
	return elements(ctx, o.a, crdt.Remove, o.key, path, values)
}

// Increment adds n to the counter at path.
func (o Object) Increment(ctx context.Context, n int64, path ...string) error {
	if err := o.a.mem.Write(ctx, memory.Manner{}, crdt.Op{Verb: crdt.Increment, Key: o.key, Path: path, Delta: n}); err != nil {
		return fmt.Errorf("object %q: %w", o.key, err)
	}
	return nil
}

// Delete removes what is at and below path; the object around it stays.
func (o Object) Delete(ctx context.Context, path ...string) error {
	if err := o.a.mem.Write(ctx, memory.Manner{}, crdt.Op{Verb: crdt.Delete, Key: o.key, Path: path}); err != nil {
		return fmt.Errorf("object %q: %w", o.key, err)
	}
	return nil
}

// Get returns the value at path, absent if there is none.
func (o Object) Get(path ...string) (crdt.Value, error) {
	v, err := o.a.mem.Typed(o.key, crdt.Object)
	if err != nil {
		return crdt.Value{}, err
	}
	for _, name := range path {
		v = v.Field(name)
	}
	return v, nil
}
