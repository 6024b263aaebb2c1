package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// TaskHolder is the record of the peer that holds the lock of a task. It lags behind the lease, which
// alone decides with its token.
type TaskHolder struct {
	Holder string `json:"holder"` // name of the peer
	Token  uint64 `json:"token"`  // fencing token of the lease; lockservice.TokenTime returns its time
}

// TaskLockKey returns the key of the record of the holder of a task's lock.
func TaskLockKey(id string) string { return taskLock.key(id) }

// AcquireLock waits, within ctx, until this peer holds the lock of a task: the lock tasks/<id> of
// Agent.Locks. The lease has the TTL ttl, and is renewed until ReleaseLock or its Unlock is called.
// Every write for the task to a third system should carry the lease's Token, since a holder that was
// paused does not know that it has lost the lock. AcquireLock fails with the errors of
// lockservice.Session.Lock, with a *crdt.KeyError, and with agent.ErrClosed.
func (t Tasks) AcquireLock(ctx context.Context, id string, ttl time.Duration) (*lockservice.Lease, error) {
	if err := taskLock.check(id); err != nil {
		return nil, err
	}
	if t.f.host.Memory.Closed() {
		return nil, memory.ErrClosed
	}
	l, err := t.f.host.Locks.Lock(ctx, "tasks/"+id, lockservice.WithTTL(ttl))
	if err != nil {
		return nil, err
	}
	if !t.f.holds.add(id, l, func() { t.f.host.Go(func() { t.announce(id, l, ttl) }) }) {
		return nil, memory.ErrClosed
	}
	return l, nil
}

// ReleaseLock unlocks a task whose lock this peer holds. It fails with lockservice.ErrNotHolder if the
// peer does not hold it, and with the errors of lockservice.Lease.Unlock.
func (t Tasks) ReleaseLock(ctx context.Context, id string) error {
	l := t.f.holds.of(id)
	if l == nil && t.f.host.Memory.Closed() {
		return memory.ErrClosed
	}
	if l == nil {
		return fmt.Errorf("task %q: %w", id, lockservice.ErrNotHolder)
	}
	return l.Unlock(ctx)
}

// Holder returns the holder of the lock of a task, as far as this peer knows. It fails with
// agent.ErrNotFound if no peer holds it.
func (t Tasks) Holder(id string) (TaskHolder, error) {
	return collection[TaskHolder]{t.f, taskLock}.get(id)
}

// announce keeps the record of the holder of a task's lock while the lease lasts. The record has a TTL,
// so it expires if this peer dies.
func (t Tasks) announce(id string, l *lockservice.Lease, ttl time.Duration) {
	ctx := context.WithoutCancel(l.Context())
	holder := TaskHolder{t.f.host.Name, l.Token()}
	again := time.NewTicker(ttl)
	defer again.Stop()
	var written crdt.Version // version of the record that this loop wrote last
	m := t.f.host.Memory
	for {
		err := m.Assign(ctx, crdt.Op{Verb: crdt.Put, Key: taskLock.key(id)}, holder, []memory.Option{func(o *memory.Options) {
			o.TTL, o.Urgent, o.Vital, o.Reports = 2*ttl+time.Second, true, true, []*crdt.Version{&written}
		}})
		if err != nil && !m.Closed() {
			t.f.host.Log.Warn("cannot tell who holds the lock of a task", "task", id, "err", err)
		}
		select {
		case <-l.Done():
			t.f.holds.drop(id, l)
			_ = m.Write(ctx, memory.Manner{Urgent: true}, crdt.Op{Verb: crdt.Delete, Key: taskLock.key(id), If: &written}) // the record of a later holder stays
			return
		case <-again.C:
		}
	}
}
