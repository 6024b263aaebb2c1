package workqueue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

func open(t *testing.T) *agent.Agent {
	t.Helper()
	a, err := agent.Open(t.Context(), agent.Config{Name: "n1", Cluster: "test", BatchInterval: agent.AtOnce})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Logf("close: %v", err)
		}
	})
	return a
}

func enqueue(t *testing.T, q workqueue.Queue, value any, opts ...workqueue.EnqueueOption) {
	t.Helper()
	if _, err := q.Enqueue(t.Context(), value, opts...); err != nil {
		t.Fatal(err)
	}
}

// A claim that a request can find can be finished by that request, even before the call that made the claim
// has returned.
func TestAClaimIsFinishedTheMomentItIsThere(t *testing.T) {
	a := open(t)
	q := a.WorkQueue("q")
	const items = 200
	for i := range items {
		if _, err := q.Enqueue(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range items {
			if _, err := q.Claim(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for done := 0; done < items && !t.Failed(); {
		found, complete := q.Claims()
		if !complete {
			t.Error("a claim is there that is not complete")
		}
		for _, c := range found {
			switch err := c.Complete(t.Context(), nil); {
			case err == nil:
				done++
			case !errors.Is(err, workqueue.ErrClaimLost):
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
}

// A voter locks the index of a queue while its session is locked. So no goroutine may wait for the session
// while it holds the lock of an index.
func TestAClaimIsGivenBackBesideAVoter(t *testing.T) {
	a := open(t)
	q := a.WorkQueue("q")
	enqueue(t, q, 1)
	c, err := q.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	release := q.Hold() // the two goroutines below wait for the index, in this order
	go func() {
		c.GiveBack()
		done <- struct{}{}
	}()
	untilWaits(t, "(*Queues).giveBack")
	go func() {
		if l, err := a.Locks().TryLock(context.Background(), queue.Lock("q", "another")); err == nil {
			_ = l.Unlock(context.Background())
		}
		done <- struct{}{}
	}()
	untilWaits(t, "(*Queues).Bars")
	release()
	for range 2 {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the worker waits for the voter, and the voter for the worker")
		}
	}
}

// untilWaits returns when a goroutine that is in a call of f waits for a mutex.
func untilWaits(t *testing.T, f string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for began := time.Now(); time.Since(began) < 10*time.Second; runtime.Gosched() {
		for one := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
			if bytes.Contains(one, []byte(f)) && bytes.Contains(one, []byte("[sync.Mutex.Lock")) {
				return
			}
		}
	}
	t.Fatalf("nobody in %s waits", f)
}

// A caller that reads a queue sees everything that was enqueued here before, even if the loop is behind.
func TestAQueueIsReadWithOnesOwnWrites(t *testing.T) {
	a := open(t)
	for name, read := range map[string]func(q workqueue.Queue) error{
		"get":   func(q workqueue.Queue) error { _, err := q.Get("x"); return err },
		"depth": func(q workqueue.Queue) error { return one(q.Depth()) },
		"peek": func(q workqueue.Queue) error {
			list, err := q.Peek(9)
			return errors.Join(err, want(len(list)))
		},
		"survey": func(q workqueue.Queue) error {
			_, _, oldest, err := q.Survey(9)
			if oldest.IsZero() {
				err = errors.New("nothing waits")
			}
			return err
		},
		"list": func(q workqueue.Queue) error {
			if list := a.WorkQueues(); !slices.Contains(list, q.Name()) {
				return fmt.Errorf("there are %q", list)
			}
			return nil
		},
		"stats": func(q workqueue.Queue) error { return one(a.Stats().Queues[q.Name()].Depth, nil) },
		"purge": func(q workqueue.Queue) error {
			n, err := q.Purge(t.Context())
			return errors.Join(err, want(n))
		},
		"claim": func(q workqueue.Queue) error {
			c, err := q.Claim(t.Context(), workqueue.WithWait(0))
			if err == nil {
				err = c.Release(t.Context())
			}
			return err
		},
	} {
		busy := a.WorkQueue("busy-" + name)
		release := busy.Hold()
		if err := a.Put(t.Context(), queue.ItemKey(busy.Name(), "x"), 1); err != nil { // the loop waits for the index of this queue
			t.Fatal(err)
		}
		q := a.WorkQueue(name)
		enqueue(t, q, "work", workqueue.WithID("x"))
		time.AfterFunc(20*time.Millisecond, release)
		if err := read(q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func one(d workqueue.Depth, err error) error { return errors.Join(err, want(d.Pending)) }

func want(n int) error {
	if n != 1 {
		return fmt.Errorf("%d, want 1", n)
	}
	return nil
}
