package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// TaskHolder says who holds the lock of a task, for all to read. It follows the lease
// by a moment: only the lease itself, and its token, decide.
type TaskHolder struct {
	Holder string `json:"holder"` // the peer
	Token  uint64 `json:"token"`  // lockservice.TokenTime says from when
}

// TaskLockKey is the key at which the holder of a task's lock is told.
func TaskLockKey(id string) string { return taskLock.key(id) }

// AcquireLock waits, within ctx, until this peer holds the lock of a task: the lease
// tasks/<id> of Agent.Locks, renewed by itself until ReleaseLock, or its Unlock. Its
// errors are those of lockservice.Session.Lock. Give its Token to whatever is written
// for the task: a holder that was paused does not know that it is one no more.
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

// ReleaseLock unlocks a task that this peer holds. Else it fails with
// lockservice.ErrNotHolder.
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

// Holder returns who holds the lock of a task as far as this peer has heard,
// memory.ErrNotFound if nobody does.
func (t Tasks) Holder(id string) (TaskHolder, error) {
	return collection[TaskHolder]{t.f, taskLock}.get(id)
}

// announce tells who holds the lock while the lease lasts. Should this peer die, what
// it told expires.
func (t Tasks) announce(id string, l *lockservice.Lease, ttl time.Duration) {
	ctx := context.WithoutCancel(l.Context())
	holder := TaskHolder{t.f.host.Name, l.Token()}
	again := time.NewTicker(ttl)
	defer again.Stop()
	var told crdt.Version
	m := t.f.host.Memory
	for {
		err := m.Assign(ctx, crdt.Op{Verb: crdt.Put, Key: taskLock.key(id)}, holder, []memory.Option{func(o *memory.Options) {
			o.TTL, o.Urgent, o.Vital, o.Reports = 2*ttl+time.Second, true, true, []*crdt.Version{&told}
		}})
		if err != nil && !m.Closed() {
			t.f.host.Log.Warn("cannot tell who holds the lock of a task", "task", id, "err", err)
		}
		select {
		case <-l.Done():
			t.f.holds.drop(id, l)
			_ = m.Write(ctx, memory.Manner{Urgent: true}, crdt.Op{Verb: crdt.Delete, Key: taskLock.key(id), If: &told}) // the next holder's stays
			return
		case <-again.C:
		}
	}
}
