package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Options are the settings of one write. The zero value is an ordinary write.
type Options struct {
	TTL     time.Duration   // time after which the written value expires; 0 for never
	Kind    crdt.Kind       // type that the key gets; 0 leaves it to the key's rule
	If      *crdt.Version   // version that the key must have at this peer; nil for any
	Vital   bool            // the write may add up to crdt.VitalBytes to a store that is full
	Urgent  bool            // the write is sent at once, and before other writes that wait
	Reports []*crdt.Version // variables that get the version that the key has right after the write
}

// Option changes the settings of one write.
type Option func(*Options)

// Manner says how a batch of writes is made.
type Manner struct {
	Urgent  bool     // the batch is sent at once, and before other writes that wait
	Reports []Report // versions that the caller asks for
}

// Report asks for the version that Key has right after a batch of writes. It is stored in *Into; 0 if
// the key is absent then.
type Report struct {
	Key  string
	Into *crdt.Version
}

// Prepare applies options to op, and returns those that concern the batch that op is part of. It fails
// for a negative TTL and for a report into nil.
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

// Assign writes value as a batch of one operation: op gives the verb, the key and the path. A Delete
// or an Expire ignores value. It fails with the errors of crdt.ValueOf, Prepare and Write.
func (m *Memory) Assign(ctx context.Context, op crdt.Op, value any, opts []Option) (err error) {
	var how Manner
	if op.Verb != crdt.Delete && op.Verb != crdt.Expire {
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

// Write makes ops take effect as one unit: all of them or, if it fails, none. It waits, within ctx,
// while more than Config.MaxBacklog bytes wait for the owner. It fails with the error of ctx, with
// ErrClosed, and with the errors of replica.Replica.Write.
func (m *Memory) Write(ctx context.Context, how Manner, ops ...crdt.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.lockWithRoom(ctx); err != nil {
		return err
	}
	err := m.commit(how, ops)
	if err == nil {
		m.Signal()
	}
	return err
}

// lockWithRoom takes the lock when no more than Config.MaxBacklog bytes wait for the owner. The lock
// is not held if it fails.
func (m *Memory) lockWithRoom(ctx context.Context) error {
	m.lock()
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
		m.lock()
	}
	if m.Closed() {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// commit writes ops, and releases the lock, which the caller holds.
func (m *Memory) commit(how Manner, ops []crdt.Op) error {
	defer m.mu.Unlock()
	now := time.Now()
	_, err := m.replica.Write(now, how.Urgent, ops...)
	if err == nil {
		m.wrote(now, how, ops)
	}
	return err
}

// wrote does what follows a write of ops: it tells the versions that the caller asks for, and
// counts.
func (m *Memory) wrote(now time.Time, how Manner, ops []crdt.Op) {
	for _, r := range how.Reports {
		*r.Into = m.store.Probe(r.Key, uint64(now.UnixMilli())).Version()
	}
	m.cfg.Wrote(ops)
	m.writes += uint64(len(ops))
	for i := range ops {
		m.backlog += len(ops[i].Key) + len(ops[i].Value.Raw()) + 128
		for _, v := range ops[i].Values {
			m.backlog += len(v.Raw()) + 128
		}
	}
}
