package agent

import (
	"context"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Set is a handle on a key that holds unique values. If one peer adds a value while another removes
// it, the value stays. Agent.Set returns a handle.
type Set struct {
	a   *Agent
	key string
}

// Set returns a handle on the set at key.
func (a *Agent) Set(key string) Set { return Set{a, key} }

// Add adds values. A value that is in the set already is written again, so that a concurrent Remove
// does not remove it. It fails with the errors of Agent.Put.
func (s Set) Add(ctx context.Context, values ...any) error {
	return elements(ctx, s.a, crdt.Add, s.key, nil, values)
}

// Remove removes values. An Add that this peer has not seen yet keeps its value in the set.
func (s Set) Remove(ctx context.Context, values ...any) error {
	return elements(ctx, s.a, crdt.Remove, s.key, nil, values)
}

// elements adds values to, or removes them from, the set at path within key.
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

// Values returns the values, sorted; none if the key is absent. It fails with a *crdt.TypeError if the
// key is no set, with a *crdt.KeyError, and with ErrClosed.
func (s Set) Values() ([]crdt.Value, error) {
	v, err := s.a.mem.Typed(s.key, crdt.Set)
	if err != nil || v.IsZero() {
		return nil, err
	}
	return v.Elements(), nil
}

// Has reports whether value is in the set. Its cost does not depend on the size of the set. It fails
// with the errors of Values and of crdt.ValueOf.
func (s Set) Has(value any) (has bool, err error) {
	v, err := crdt.ValueOf(value)
	if err == nil {
		err = s.a.mem.Probe(s.key, crdt.Set, func(p crdt.Probe) { has = p.Has(v) })
	}
	return has, err
}

// Len returns the number of values, 0 if the key is absent. Its cost does not depend on the size of
// the set. It fails with the errors of Values.
func (s Set) Len() (n int, err error) {
	err = s.a.mem.Probe(s.key, crdt.Set, func(p crdt.Probe) { n = p.Count() })
	return n, err
}

// Page returns up to limit values that come after the value after, in the order of crdt.Value.Compare; an
// absent after stands for the beginning. The Next of a page is the after of the following one. Values
// that stay in the set while somebody pages through it are on exactly one page. A page ends early
// with crdt.PageBytes. It costs what is on it, except that the first page of a set beyond
// crdt.WholeBytes sorts the set; the order is kept until nobody has read a page for a minute. It fails
// with the errors of Values.
func (s Set) Page(after crdt.Value, limit int) (crdt.Page, error) {
	return s.a.mem.Page(s.key, crdt.Set, nil, after, limit)
}

// Clear removes every value that this peer has seen.
func (s Set) Clear(ctx context.Context) error { return s.a.Delete(ctx, s.key) }

// Counter is a handle on a key that holds an integer: the sum of the numbers that all peers added.
// Agent.Counter returns a handle.
type Counter struct {
	a   *Agent
	key string
}

// Counter returns a handle on the counter at key.
func (a *Agent) Counter(key string) Counter { return Counter{a, key} }

// Add adds n, which may be negative. It fails with a *crdt.ValueError if the sum would exceed an int64.
// If additions of several peers exceed it together, the sum stays at the limit of an int64.
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

// Reset removes what this peer has seen added. A peer that adds at the same moment restores the whole
// sum that it has added before, so a counter should be reset while no peer adds to it.
func (c Counter) Reset(ctx context.Context) error { return c.a.Delete(ctx, c.key) }

// Max is a handle on a key that holds the greatest number that any peer gave it. Agent.Max returns a
// handle.
type Max struct {
	a   *Agent
	key string
}

// Max returns a handle on the maximum at key.
func (a *Agent) Max(key string) Max { return Max{a, key} }

// Bump raises the maximum to n, an integer or a float. A lower n changes nothing.
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

// Value returns the maximum, the zero Value if the key is absent.
func (m Max) Value() (crdt.Value, error) { return m.a.mem.Typed(m.key, crdt.Max) }

// Object is a handle on a key that holds named fields, which may be objects, sets and counters
// themselves. Concurrent edits of different fields are both kept. Agent.Object returns a handle.
type Object struct {
	a   *Agent
	key string
}

// Object returns a handle on the object at key.
func (a *Agent) Object(key string) Object { return Object{a, key} }

// Patch merges fields, a map or struct, into the object: nested maps field by field, and arrays by
// adding their elements to a set. A nil removes a field. An object without fields remains present.
func (o Object) Patch(ctx context.Context, fields any, opts ...WriteOption) error {
	return o.write(ctx, crdt.Op{Verb: crdt.Patch}, fields, opts)
}

// Replace makes the object consist of exactly fields, a map or struct.
func (o Object) Replace(ctx context.Context, fields any, opts ...WriteOption) error {
	return o.write(ctx, crdt.Op{Verb: crdt.Put}, fields, append(opts[:len(opts):len(opts)], WithKind(crdt.Object)))
}

// Put assigns value, a map included, to the field at path. A nil value removes the field. Without a
// path it is Replace.
func (o Object) Put(ctx context.Context, value any, path ...string) error {
	if len(path) == 0 {
		return o.Replace(ctx, value)
	}
	return o.write(ctx, crdt.Op{Verb: crdt.Put, Path: path}, value, nil)
}

// write makes one write of value to the object, as op says.
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

// Remove removes values from the set at path. The set remains present when it is empty.
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

// Delete removes the field at path and everything below it. The objects around it remain present.
func (o Object) Delete(ctx context.Context, path ...string) error {
	if err := o.a.mem.Write(ctx, memory.Manner{}, crdt.Op{Verb: crdt.Delete, Key: o.key, Path: path}); err != nil {
		return fmt.Errorf("object %q: %w", o.key, err)
	}
	return nil
}

// Field returns the value at path, the whole object without a path, and the zero Value if there is
// none. Unless the value is an object or a set itself, the cost does not depend on the size of the
// object. It fails with a *crdt.TypeError if the key is no object, with a *crdt.KeyError, and with
// ErrClosed.
func (o Object) Field(path ...string) (crdt.Value, error) { return o.a.mem.Field(o.key, path) }

// Page returns up to limit fields of the object at path, or elements of the set there, as Set.Page
// does; after is the name of a field or an element. The value of a field is whole. The page has no
// Kind if there is nothing at path. It fails with the errors of Field, and with a *crdt.TypeError if
// there is a value at path that is neither an object nor a set.
func (o Object) Page(after crdt.Value, limit int, path ...string) (crdt.Page, error) {
	return o.a.mem.Page(o.key, crdt.Object, path, after, limit)
}
