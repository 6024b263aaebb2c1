package fleet

import (
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// form is the pattern of the keys of one kind of record: the text before the first id, the texts
// between ids, and the text after the last id.
type form []string

// The forms of the keys of all typed records. They are fixed, so that programs in other languages use
// the same records. keyspace.Rules gives the keys their types.
var (
	taskState      = form{keyspace.Tasks, keyspace.State}
	taskProgress   = form{keyspace.Tasks, keyspace.Progress}
	taskLock       = form{keyspace.Tasks, keyspace.Lock}
	taskAgent      = form{keyspace.Tasks, keyspace.Agents + "/", ""}
	workerStatus   = form{keyspace.Workers, keyspace.Status}
	workerCapacity = form{keyspace.Workers, keyspace.Capacity}
	coordination   = form{keyspace.Coordination, ""} // queue, assignments and metrics
)

// append appends the key with these ids to dst.
func (f form) append(dst []byte, ids ...string) []byte {
	for i, id := range ids {
		dst = append(append(dst, f[i]...), id...)
	}
	return append(dst, f[len(ids)]...)
}

// key returns the key with these ids.
func (f form) key(ids ...string) string { return string(f.append(nil, ids...)) }

// check fails with a *crdt.KeyError unless each id is one segment of a key.
func (f form) check(ids ...string) error {
	for _, id := range ids {
		if id == "" || strings.Contains(id, "/") {
			return &crdt.KeyError{Key: id, Reason: "is no id here: want one segment of a key, without '/'"}
		}
	}
	return crdt.ValidateKey(f.key(ids...))
}

// match returns the ids in key, nil if key does not have the form.
func (f form) match(key string) []string {
	rest, ok := strings.CutPrefix(key, f[0])
	if !ok {
		return nil
	}
	var ids []string
	for _, next := range f[1:] {
		end := strings.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		ids = append(ids, rest[:end])
		if rest, ok = strings.CutPrefix(rest[end:], next); !ok || next == "" && rest != "" {
			return nil
		}
	}
	if rest != "" {
		return nil
	}
	return ids
}

// collection reads and writes the records whose keys have one form, and decodes each into T.
type collection[T any] struct {
	f *Fleet
	form
}

// get returns a record. If the cache has it, get does not allocate. What its pointers, slices and maps
// refer to is shared.
func (c collection[T]) get(ids ...string) (T, error) {
	var scratch [192]byte
	key := c.form.append(scratch[:0], ids...)
	if v, ok := memory.Cached[T](c.f.host.Memory, unsafe.String(unsafe.SliceData(key), len(key))); ok { // Cached does not retain the key
		return v, nil
	}
	if err := c.check(ids...); err != nil {
		var zero T
		return zero, err
	}
	return memory.As[T](c.f.host.Memory, string(key))
}

// patch merges fields into a record that is an object.
func (c collection[T]) patch(ctx context.Context, fields any, opts []memory.Option, ids ...string) error {
	return c.write(ctx, crdt.Op{Verb: crdt.Patch}, fields, opts, ids)
}

// put assigns a record that is a register.
func (c collection[T]) put(ctx context.Context, value any, opts []memory.Option, ids ...string) error {
	return c.write(ctx, crdt.Op{Verb: crdt.Put}, value, opts, ids)
}

func (c collection[T]) write(ctx context.Context, op crdt.Op, value any, opts []memory.Option, ids []string) (err error) {
	if err = c.check(ids...); err != nil {
		return err
	}
	op.Key = c.key(ids...)
	if err = c.f.host.Memory.Assign(ctx, op, value, opts); err != nil {
		return fmt.Errorf("%s %q: %w", op.Verb, op.Key, err)
	}
	return nil
}

// each calls visit for the ids of every record whose first ids are the given ones, in the order of
// the keys.
func (f form) each(m *memory.Memory, visit func(ids []string), first ...string) error {
	if m.Closed() {
		return memory.ErrClosed
	}
	of := func(key string) bool { return f.match(key) != nil }
	return m.Walk(context.Background(), []crdt.KeyRange{crdt.StartingWith(string(f.append(nil, first...)))}, of, func(key string, _ crdt.Entry) bool {
		visit(f.match(key))
		return true
	})
}
