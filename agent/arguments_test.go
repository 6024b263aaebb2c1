package agent

import (
	"math"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Numbers that make no sense are refused. None of them is taken for something else.
func TestArgumentsOutOfRangeAreRefused(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	q := a.WorkQueue("q")
	if _, err := q.Enqueue(ctx, 1); err != nil {
		t.Fatal(err)
	}
	claim := func(opts ...workqueue.ClaimOption) error { _, err := q.Claim(ctx, opts...); return err }
	lock := func(opts ...lockservice.Option) error { _, err := a.Locks().Lock(ctx, "l", opts...); return err }
	enqueue := func(opts ...workqueue.EnqueueOption) error { _, err := q.Enqueue(ctx, 1, opts...); return err }
	for name, err := range map[string]error{
		"WaitReplicated of -1":    a.WaitReplicated(ctx, -1),
		"WaitReplicated of least": a.WaitReplicated(ctx, math.MinInt),
		"a TTL of -1":             a.Put(ctx, "k", 1, WithTTL(-1)),
		"an update's TTL":         a.Update(ctx, func(tx *Tx) error { tx.Put("k", 1, WithTTL(-time.Second)); return nil }),
		"a sign's TTL":            a.Workers().SetStatus(ctx, "w", fleet.WorkerStatus{}, WithTTL(-1)),
		"no such type":            a.Put(ctx, "k", 1, WithKind(crdt.Custom+1)),
		"a capacity":              a.Workers().SetCapacity(ctx, "w", -1),
		"a heartbeat":             a.Workers().HeartbeatFor(ctx, -time.Second, "w"),
		"a claim's wait":          claim(workqueue.WithWait(-1)),
		"a claim's TTL":           claim(workqueue.WithTTL(-time.Second)),
		"a claim's long TTL":      claim(workqueue.WithTTL(time.Hour)),
		"a delay":                 enqueue(workqueue.WithDelay(-time.Second)),
		"a long delay":            enqueue(workqueue.WithDelay(math.MaxInt64)),
		"attempts":                enqueue(workqueue.WithMaxAttempts(-1)),
		"a lock's TTL":            lock(lockservice.WithTTL(-time.Second)),
		"a lock's TTL of 0":       lock(lockservice.WithTTL(0)),
		"a lock's long TTL":       lock(lockservice.WithTTL(math.MaxInt64)),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := q.ClaimBatch(ctx, -1); err == nil {
		t.Error("a batch of -1 claims is accepted")
	}
	if _, err := a.Locks().Semaphore("s", -1); err == nil {
		t.Error("a semaphore of -1 slots is accepted")
	}
	if err := a.WaitReplicated(ctx, 0); err != nil {
		t.Errorf("no peer to wait for: %v", err)
	}
	if err := a.Put(ctx, "k", 1, WithTTL(math.MaxInt64)); err != nil {
		t.Errorf("a TTL of 292 years: %v", err)
	}
	if _, ok := a.Get("k"); !ok {
		t.Error("what lives for 292 years is gone")
	}
	if list, err := a.Conflicts("**", -1); err != nil || len(list) != 0 {
		t.Errorf("at most -1 conflicts: %v, %v", list, err)
	}
	c, err := q.Claim(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Fail(ctx, nil, workqueue.WithRetryAfter(math.MinInt64)); err != nil {
		t.Errorf("a retry that was due long ago: %v", err)
	}
	if err := claim(workqueue.WithWait(time.Second)); err != nil {
		t.Errorf("it is tried again at once: %v", err)
	}
}
