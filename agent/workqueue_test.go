package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// mustEnqueue enqueues a value and returns the id of its item.
func mustEnqueue(t testing.TB, q workqueue.Queue, value any, opts ...workqueue.EnqueueOption) string {
	t.Helper()
	id, err := q.Enqueue(t.Context(), value, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// mustClaim claims an item, for which it waits up to a minute.
func mustClaim(t testing.TB, q workqueue.Queue, opts ...workqueue.ClaimOption) *workqueue.Claim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := q.Claim(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// noClaim fails if an item can be claimed within d.
func noClaim(t testing.TB, q workqueue.Queue, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if c, err := q.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claimed %+v, %v", c, err)
	}
}

func wantDepth(t testing.TB, q workqueue.Queue, want workqueue.Depth) {
	t.Helper()
	if d, err := q.Depth(); err != nil || d != want {
		t.Errorf("depth of %s: %+v, %v; want %+v", q.Name(), d, err, want)
	}
}

func TestAnItemIsClaimedAndCompletedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4)
		mail := func(i int) workqueue.Queue { return list[i].WorkQueue("mail") }
		id := mustEnqueue(t, mail(3), map[string]any{"to": "ada"})
		time.Sleep(time.Second)
		for i := range list {
			wantDepth(t, mail(i), workqueue.Depth{Pending: 1})
		}
		c := mustClaim(t, mail(0))
		if c.ID != id || c.Value.Field("to").Any() != "ada" || c.Attempt != 1 {
			t.Errorf("claimed %+v", c)
		}
		time.Sleep(30 * time.Second) // the claim is extended by itself
		for i := range list {
			wantDepth(t, mail(i), workqueue.Depth{Claimed: 1})
		}
		noClaim(t, mail(1), 15*time.Second)
		if err := c.Complete(t.Context(), "sent"); err != nil {
			t.Fatal(err)
		}
		if err := c.Complete(t.Context(), "sent"); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("completed twice: %v", err)
		}
		time.Sleep(time.Second)
		for i := range list {
			wantDepth(t, mail(i), workqueue.Depth{Done: 1})
			if item, err := mail(i).Get(id); err != nil || item.Result.Any() != "sent" || item.State != workqueue.Done {
				t.Errorf("%s: %+v, %v", list[i].Name(), item, err)
			}
			if _, ok := list[i].Get(queue.ItemKey("mail", id)); ok {
				t.Errorf("%s still has the item", list[i].Name())
			}
		}
		noClaim(t, mail(2), time.Minute)
		time.Sleep(2 * time.Hour)
		wantDepth(t, mail(1), workqueue.Depth{})
	})
}

func TestItemsAreClaimedByPriorityAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		q := virtual(t, n, 0, nil).WorkQueue("q")
		for i, priority := range []int{0, 5, 0, 5, -1} {
			mustEnqueue(t, q, i, workqueue.WithPriority(priority), workqueue.WithID(fmt.Sprint(9-i)))
		}
		mustEnqueue(t, q, 5, workqueue.WithPriority(9), workqueue.WithDelay(10*time.Second))
		synctest.Wait()
		wantDepth(t, q, workqueue.Depth{Pending: 5, Delayed: 1})
		var shown, got []int64
		items, err := q.Peek(10)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			shown = append(shown, item.Value.Any().(int64))
		}
		began := time.Now()
		for range 6 {
			c := mustClaim(t, q)
			got = append(got, c.Value.Any().(int64))
			if err := c.Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if want := []int64{1, 3, 0, 2, 4, 5}; !slices.Equal(got, want) || !slices.Equal(shown, want[:5]) {
			t.Errorf("claimed %v, shown %v, want %v", got, shown, want)
		}
		if d := time.Since(began); d < 9*time.Second || d > 11*time.Second {
			t.Errorf("the delayed one came after %v", d)
		}
	})
}

func TestAnIDIsTakenOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q, other := list[0].WorkQueue("q"), list[1].WorkQueue("q")
		mustEnqueue(t, q, 1, workqueue.WithID("a"))
		if _, err := q.Enqueue(t.Context(), 2, workqueue.WithID("a")); !errors.Is(err, workqueue.ErrDuplicate) {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := other.Enqueue(t.Context(), 2, workqueue.WithID("a")); !errors.Is(err, workqueue.ErrDuplicate) {
			t.Errorf("at another peer: %v", err)
		}
		ids, err := other.EnqueueAll(t.Context(), []workqueue.NewItem{{ID: "a"}, {ID: "b"}, {ID: "b"}})
		if err != nil || !slices.Equal(ids, []string{"a", "b", "b"}) {
			t.Errorf("some new: %v, %v", ids, err)
		}
		for range 2 {
			if err := mustClaim(t, other).Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if _, err := list[2].WorkQueue("q").Enqueue(t.Context(), 3, workqueue.WithID("a")); !errors.Is(err, workqueue.ErrDuplicate) {
			t.Errorf("when it is done: %v", err)
		}
		wantDepth(t, q, workqueue.Depth{Done: 2})
		time.Sleep(2 * time.Hour)
		mustEnqueue(t, q, 4, workqueue.WithID("a"))
	})
}

func TestAFailedItemBacksOffAndIsDeadInTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q := list[0].WorkQueue("q")
		heard := map[EventType]int{}
		events := list[0].Events(t.Context())
		go func() {
			for e := range events.C {
				heard[e.Type]++ // the channel is closed when the peer is
			}
		}()
		mustEnqueue(t, q, "x", workqueue.WithID("x"), workqueue.WithMaxAttempts(3))
		last := time.Now()
		for i := range 3 {
			c := mustClaim(t, list[i].WorkQueue("q"))
			least := time.Duration(0)
			if i > 0 {
				least = time.Second << (i - 1) / 2
			}
			if wait := time.Since(last); c.Attempt != i+1 || wait < least || wait > 2*least+time.Second {
				t.Errorf("attempt %d after %v", c.Attempt, wait)
			}
			if err := c.Fail(t.Context(), errors.New("no route")); err != nil {
				t.Fatal(err)
			}
			last = time.Now()
		}
		time.Sleep(time.Second)
		for _, a := range list {
			wantDepth(t, a.WorkQueue("q"), workqueue.Depth{Dead: 1})
		}
		if item, err := list[1].WorkQueue("q").Get("x"); err != nil || item.Error != "no route" || item.Attempt != 3 {
			t.Errorf("dead: %+v, %v", item, err)
		}
		noClaim(t, q, 10*time.Minute)
		if n, err := list[1].WorkQueue("q").Requeue(t.Context()); n != 1 || err != nil {
			t.Errorf("requeued %d, %v", n, err)
		}
		c := mustClaim(t, q)
		if c.Attempt != 1 {
			t.Errorf("requeued, attempt %d", c.Attempt)
		}
		long := "a" + strings.Repeat("é", 800) + "\xff"
		if err := c.Fail(t.Context(), errors.New(long), workqueue.WithoutRetry()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if item, err := q.Get("x"); err != nil || item.Error != long[:1+2*511] {
			t.Errorf("of a reason of %d bytes there is %q, %v", len(long), item.Error, err)
		}
		wantDepth(t, q, workqueue.Depth{Dead: 1})
		if n, err := q.Purge(t.Context()); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		time.Sleep(time.Second)
		wantDepth(t, list[2].WorkQueue("q"), workqueue.Depth{})
		if err := list[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if heard[ItemClaimed] != 2 || heard[ItemFailed] != 1 || heard[ItemDead] != 1 {
			t.Errorf("events %v", heard)
		}
	})
}

// Reading from a queue that does not exist does not make it exist.
func TestReadingMakesNoQueue(t *testing.T) {
	a := open(t, Config{Name: "a"})
	q := a.WorkQueue("typo")
	wantDepth(t, q, workqueue.Depth{})
	if list, err := q.Peek(10); err != nil || list == nil || len(list) > 0 {
		t.Errorf("peek: %v, %v", list, err)
	}
	if _, err := q.Get("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if n, err := q.Purge(t.Context()); n != 0 || err != nil {
		t.Errorf("purge: %d, %v", n, err)
	}
	if _, err := q.Claimed(t.Context(), "x", "x", 1); !errors.Is(err, workqueue.ErrClaimLost) {
		t.Errorf("claimed: %v", err)
	}
	if got := a.WorkQueues(); len(got) > 0 {
		t.Errorf("there are %v", got)
	}
	if _, err := a.WorkQueue("a/b").Depth(); err == nil {
		t.Error("a wrong name is looked at")
	}
}

// Claiming from a queue that does not exist does not make it exist. A caller that waits gets the first item
// that is enqueued there.
func TestClaimingMakesNoQueue(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		a := list[0]
		none := func(what string) {
			t.Helper()
			synctest.Wait()
			if names, stats := a.WorkQueues(), a.Stats().Queues; len(names)+len(stats) > 0 {
				t.Errorf("%s: there are %v, %v", what, names, stats)
			}
		}
		noClaim(t, a.WorkQueue("typo"), 0)
		noClaim(t, a.WorkQueue("typo"), time.Second)
		none("claims")
		if _, err := a.WorkQueue("typo").Enqueue(t.Context(), strings.Repeat("v", 2<<20)); err == nil {
			t.Error("a value that is too long is enqueued")
		}
		none("a value that is too long")
		got := make(chan string, 2)
		wants := func(want string) {
			t.Helper()
			select {
			case v := <-got:
				if !strings.Contains(v, want) {
					t.Errorf("%s, want %s", v, want)
				}
			case <-time.After(time.Minute):
				t.Errorf("nothing came, want %s", want)
			}
		}
		claim := func(name string) {
			c, err := a.WorkQueue(name).Claim(t.Context())
			if err != nil {
				got <- err.Error()
				return
			}
			got <- c.Value.String()
		}
		go claim("here")
		go claim("there")
		none("waits")
		mustEnqueue(t, a.WorkQueue("here"), "from here")
		wants("from here")
		mustEnqueue(t, list[1].WorkQueue("there"), "from there")
		wants("from there")
		go claim("later")
		synctest.Wait()
		crash(list[1])
		crash(list[2])
		wants("voters")
	})
}

func TestAQueueIsPausedDrainedAndResumed(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q, other := list[0].WorkQueue("q"), list[1].WorkQueue("q")
		if err := q.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		mustEnqueue(t, q, 1)
		noClaim(t, other, time.Minute)
		got := make(chan *workqueue.Claim)
		go func() { got <- mustClaim(t, other) }()
		time.Sleep(time.Second)
		if err := q.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := <-got
		drained := make(chan error)
		go func() { drained <- q.Drain(t.Context()) }()
		time.Sleep(time.Second)
		if _, err := other.Enqueue(t.Context(), 2); !errors.Is(err, workqueue.ErrDraining) {
			t.Errorf("while draining: %v", err)
		}
		if err := c.Complete(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := q.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustEnqueue(t, q, 3)
	})
}

// second returns the second result of a call.
func second[T any](_ T, err error) error { return err }

// A result that is too large for the record of a claim is refused, and the claim lasts on.
func TestAResultThatCannotBeKeptIsRefused(t *testing.T) {
	a := open(t, Config{Name: "n1", Cluster: "test", Locks: LockConfig{FirstBoot: true}})
	q := a.WorkQueue("q")
	id := mustEnqueue(t, q, 1)
	c := mustClaim(t, q)
	for name, result := range map[string]string{
		"depth": strings.Repeat("[", 32) + strings.Repeat("]", 32),
		"size":  `"` + strings.Repeat("x", workqueue.MaxResult) + `"`,
	} {
		v, err := crdt.JSONValue([]byte(result))
		if err != nil {
			t.Fatal(err)
		}
		var wrong *wire.ValueError
		if err := c.Complete(t.Context(), v); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deepest, err := crdt.JSONValue([]byte(strings.Repeat("[", 31) + strings.Repeat("]", 31)))
	if err == nil {
		err = c.Complete(t.Context(), deepest)
	}
	if err != nil {
		t.Fatal(err)
	}
	if item, err := q.Get(id); err != nil || item.Result.Raw() != deepest.Raw() {
		t.Errorf("%v: %.80s", err, item.Result)
	}
}

// The zero Value, which an absent key has, is refused as an item. A null is accepted.
func TestAnAbsentValueIsNotEnqueued(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	q := a.WorkQueue("q")
	none, _ := a.Get("missing")
	for _, items := range [][]workqueue.NewItem{{{Value: none}}, {{Value: 1}, {Value: none, ID: "named"}}} {
		var refused *wire.ValueError
		if ids, err := q.EnqueueAll(t.Context(), items); !errors.As(err, &refused) {
			t.Errorf("enqueued as %v: %v", ids, err)
		}
	}
	if _, err := q.Enqueue(t.Context(), nil); err != nil {
		t.Errorf("null: %v", err)
	}
}
