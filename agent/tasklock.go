package agent

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
	if t.a.mem.Closed() {
		return nil, ErrClosed
	}
	l, err := t.a.locks.session.Lock(ctx, "tasks/"+id, lockservice.WithTTL(ttl))
	if err != nil {
		return nil, err
	}
	if !t.a.locks.hold(id, l, func() { t.a.wg.Go(func() { t.announce(id, l, ttl) }) }) {
		return nil, ErrClosed
	}
	return l, nil
}

// ReleaseLock unlocks a task that this peer holds. Else it fails with
// lockservice.ErrNotHolder.
func (t Tasks) ReleaseLock(ctx context.Context, id string) error {
	l := t.a.locks.held(id)
	if l == nil && t.a.mem.Closed() {
		return ErrClosed
	}
	if l == nil {
		return fmt.Errorf("task %q: %w", id, lockservice.ErrNotHolder)
	}
	return l.Unlock(ctx)
}

// Holder returns who holds the lock of a task as far as this peer has heard,
// ErrNotFound if nobody does.
func (t Tasks) Holder(id string) (TaskHolder, error) {
	return collection[TaskHolder]{t.a, taskLock}.get(id)
}

// announce tells who holds the lock while the lease lasts. Should this peer die, what
// it told expires.
func (t Tasks) announce(id string, l *lockservice.Lease, ttl time.Duration) {
	ctx := context.WithoutCancel(l.Context())
	holder := TaskHolder{t.a.cfg.Name, l.Token()}
	again := time.NewTicker(ttl)
	defer again.Stop()
	var told crdt.Version
	for {
		err := t.a.Put(ctx, taskLock.key(id), holder, WithTTL(2*ttl+time.Second), Urgent(), vital, ReportVersion(&told))
		if err != nil && !t.a.mem.Closed() {
			t.a.log.Warn("cannot tell who holds the lock of a task", "task", id, "err", err)
		}
		select {
		case <-l.Done():
			t.a.locks.forget(id, l)
			_ = t.a.Delete(ctx, taskLock.key(id), IfVersion(told), Urgent()) // the next holder's stays
			return
		case <-again.C:
		}
	}
}

// vital has a full store take the write, a short one, all the same.
func vital(o *memory.Options) { o.Vital = true }
