package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Options are what may be said of one write; the zero value says nothing.
type Options struct {
	TTL     time.Duration // after which what is written expires; none if 0
	Kind    crdt.Kind     // what the key becomes
	If      *crdt.Version // at which the key must be here
	Vital   bool          // a full store takes it, a short one, all the same
	Urgent  bool          // it is sent at once and before others that wait
	Reports []*crdt.Version
}

// Option changes one write.
type Option func(*Options)

// Manner is how a unit of writes is made.
type Manner struct {
	Urgent  bool
	Reports []Report
}

// Report asks for the version of a key right after a unit.
type Report struct {
	Key  string
	Into *crdt.Version
}

// Prepare applies options to op.
func Prepare(op *crdt.Op, opts []Option) (Manner, error) {
	if len(opts) == 0 {
		return Manner{}, nil
	}
	var o Options
	for _, f := range opts {
		f(&o)
	}
	if o.TTL < 0 {
		return Manner{}, fmt.Errorf("key %q: ttl %v: want a positive duration", op.Key, o.TTL)
	}
	how := Manner{Urgent: o.Urgent}
	for _, into := range o.Reports {
		if into == nil {
			return Manner{}, fmt.Errorf("key %q: ReportVersion has nowhere to store it", op.Key)
		}
		how.Reports = append(how.Reports, Report{op.Key, into})
	}
	if o.TTL > 0 {
		op.Expiry = uint64(time.Now().Add(o.TTL).UnixMilli())
	}
	op.Kind, op.If, op.Vital = o.Kind, o.If, o.Vital
	return how, nil
}

// Assign makes one write of value, by the verb, key and path of op.
func (m *Memory) Assign(ctx context.Context, op crdt.Op, value any, opts []Option) (err error) {
	var how Manner
	if op.Verb != crdt.Delete {
		op.Value, err = crdt.ValueOf(value)
	}
	if err == nil {
		how, err = Prepare(&op, opts)
	}
	if err == nil {
		err = m.Write(ctx, how, op)
	}
	return err
}

// Write makes ops one unit. It waits, within ctx, while the owner is too far behind.
func (m *Memory) Write(ctx context.Context, how Manner, ops ...crdt.Op) error {
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
	if err := m.lockWithRoom(ctx); err != nil {
		return err
	}
	err := m.commit(how, size, ops)
	if err == nil {
		m.Signal()
	}
	return err
}

// lockWithRoom takes the lock once the owner is not too far behind, or fails.
func (m *Memory) lockWithRoom(ctx context.Context) error {
	m.mu.Lock()
	for m.backlog > m.cfg.MaxBacklog {
		drained := m.drained
		m.mu.Unlock()
		m.Signal()
		select {
		case <-drained:
		case <-ctx.Done():
			return fmt.Errorf("too many writes wait to be carried out: %w", ctx.Err())
		case <-m.closing:
			return ErrClosed
		}
		m.mu.Lock()
	}
	if m.Closed() {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// commit makes ops, of size bytes, under the lock, which it gives back whatever happens.
func (m *Memory) commit(how Manner, size int, ops []crdt.Op) error {
	defer m.mu.Unlock()
	now := time.Now()
	if _, err := m.replica.Write(now, how.Urgent, ops...); err != nil {
		return err
	}
	for _, r := range how.Reports {
		*r.Into = 0
		if e, ok := m.store.Render(r.Key, uint64(now.UnixMilli())); ok {
			*r.Into = e.Version()
		}
	}
	m.cfg.Wrote(ops)
	m.writes += uint64(len(ops))
	m.backlog += size
	return nil
}
