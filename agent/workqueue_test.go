package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func mustEnqueue(t testing.TB, q workqueue.Queue, value any, opts ...workqueue.EnqueueOption) string {
	t.Helper()
	id, err := q.Enqueue(t.Context(), value, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

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

// noClaim fails if something can be claimed within d.
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
		time.Sleep(30 * time.Second) // extended by itself
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
				heard[e.Type]++ // until the peer is closed
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

// Workers follow the voters that are in force, not those that were configured.
func TestClaimsAndVerdictsFollowTheVoters(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 5)
		for i, voters := range [][]string{{"n0", "n1", "n2", "n3"}, {"n0", "n2", "n3"}, {"n0", "n2", "n3", "n4"}, {"n0", "n3", "n4"}} {
			for _, a := range list {
				if err := a.Locks().Reload(lockservice.Voters{Names: voters, Epoch: uint64(2 + i)}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
		}
		for _, a := range list[1:3] {
			a.stop()
			a.net.Close() // nobody hears a goodbye
			a.Close(t.Context())
		}
		time.Sleep(30 * time.Second)
		mustEnqueue(t, list[0].WorkQueue("q"), "x", workqueue.WithID("x"))
		if err := mustClaim(t, list[3].WorkQueue("q")).Complete(t.Context(), 1); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // the majority that has it may be without this peer
		if got, err := list[0].WorkQueue("q").Get("x"); err != nil || got.State != workqueue.Done {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// To look at a queue makes none.
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

// To claim from a queue that nobody knows makes none, and who waits for one gets what comes.
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

// Who gives up waiting has not lost the claim.
func TestAnExtendThatIsGivenUpLosesNoClaim(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[0].WorkQueue("q"), "x")
		c := mustClaim(t, list[0].WorkQueue("q"))
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Extend(ctx); err == nil || errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("given up: %v", err)
		}
		time.Sleep(30 * time.Second)
		if _, err := c.Extend(t.Context()); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("long cut off: %v", err)
		}
	})
}

// A worker that was paused for longer than its lease is refused, and its item is another's.
func TestAStaleWorkersCompleteIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q := list[0].WorkQueue("q")
		mustEnqueue(t, q, "x", workqueue.WithID("x"))
		first := mustClaim(t, q, workqueue.WithTTL(2*time.Second), workqueue.WithManualExtend())
		if left, err := first.Extend(t.Context()); err != nil || left < time.Second {
			t.Errorf("extended for %v, %v", left, err)
		}
		second := mustClaim(t, list[1].WorkQueue("q"))
		if second.Token() <= first.Token() || second.Attempt != 2 {
			t.Errorf("token %d after %d, attempt %d", second.Token(), first.Token(), second.Attempt)
		}
		if err := first.Complete(t.Context(), "first"); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("stale: %v", err)
		}
		if _, err := first.Extend(t.Context()); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("stale: %v", err)
		}
		// A write that was under way when the worker was paused loses on every peer.
		late := map[string]any{"state": "done", "attempt": 1, "worker": list[0].Name()}
		if err := list[0].Put(t.Context(), queue.ClaimKey("q", "x", first.Token()), late, WithKind(crdt.Register)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, a := range list {
			wantDepth(t, a.WorkQueue("q"), workqueue.Depth{Claimed: 1})
		}
		if err := second.Complete(t.Context(), "second"); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		for _, a := range list {
			if item, err := a.WorkQueue("q").Get("x"); err != nil || item.Result.Any() != "second" {
				t.Errorf("%s: %+v, %v", a.Name(), item, err)
			}
		}
	})
}

func TestAWorkerThatCrashesLosesItsItem(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[0].WorkQueue("q"), "x", workqueue.WithMaxAttempts(2))
		time.Sleep(time.Second)
		for i, how := range [][]workqueue.ClaimOption{{workqueue.WithTTL(time.Second)}, {workqueue.WithTTL(time.Second), workqueue.WithManualExtend()}} {
			c, err := list[2-i].WorkQueue("q").Claim(t.Context(), how...)
			for errors.Is(err, lockservice.ErrUnavailable) { // its lease was asked of the dead peer, and nobody knows yet
				c, err = list[2-i].WorkQueue("q").Claim(t.Context(), how...)
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Attempt != i+1 {
				t.Errorf("attempt %d", c.Attempt)
			}
			if i == 0 {
				time.Sleep(time.Second)
				list[2].stop() // as a crash
				list[2].net.Close()
				continue
			}
			time.Sleep(2 * time.Second) // it is not extended
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dead := 0
		events := list[0].Events(ctx)
		if c, err := list[0].WorkQueue("q").Claim(ctx); err == nil {
			t.Errorf("attempt %d of 2", c.Attempt)
		}
		for e := range events.C { // until ctx ends
			if e.Type == ItemDead {
				dead++
			}
		}
		if dead != 1 {
			t.Errorf("its death is told %d times", dead)
		}
		wantDepth(t, list[1].WorkQueue("q"), workqueue.Depth{Dead: 1})
	})
}

func TestACutKeepsWhatIsEnqueuedAndClaimsNothingTwice(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		small, big := list[0].WorkQueue("q"), list[1].WorkQueue("q")
		for i := range 5 {
			mustEnqueue(t, big, i, workqueue.WithID(fmt.Sprint("before", i)))
		}
		time.Sleep(time.Second)
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		time.Sleep(20 * time.Second)
		for i := range 5 {
			mustEnqueue(t, small, i, workqueue.WithID(fmt.Sprint("small", i)))
			mustEnqueue(t, big, i, workqueue.WithID(fmt.Sprint("big", i)))
			mustEnqueue(t, small, i, workqueue.WithID(fmt.Sprint("both", i)))
			mustEnqueue(t, big, i, workqueue.WithID(fmt.Sprint("both", i)))
		}
		synctest.Wait()
		if _, err := small.Claim(t.Context()); !errors.Is(err, lockservice.ErrUnavailable) {
			t.Errorf("without a majority: %v", err)
		}
		if items, err := small.Peek(100); err != nil || len(items) != 15 {
			t.Errorf("%d items, %v", len(items), err)
		}
		finished := map[string]int{}
		for range 15 {
			c := mustClaim(t, big)
			finished[c.ID]++
			if err := c.Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		n.Heal()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for len(finished) < 20 { // at once: what is done has not all come yet
			c, err := small.Claim(ctx)
			if errors.Is(err, lockservice.ErrUnavailable) {
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			finished[c.ID]++
			if err := c.Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		for id, times := range finished {
			if times != 1 {
				t.Errorf("%s was completed %d times", id, times)
			}
		}
		time.Sleep(10 * time.Second)
		for _, a := range list {
			wantDepth(t, a.WorkQueue("q"), workqueue.Depth{Done: 20})
		}
		agreed(t, list)
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

// Close ends the context of a claim, and gives it back when its worker has stopped: not
// sooner, for the worker may still be at work.
func TestCloseGivesBackTheClaimsOfWorkersThatStop(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4)
		q := list[3].WorkQueue("q")
		mustEnqueue(t, q, 1)
		c := mustClaim(t, q)
		waiting := make(chan error)
		go func() {
			_, err := q.Claim(context.Background())
			waiting <- err
		}()
		time.Sleep(time.Second)
		stopped := make(chan time.Time, 1)
		go func() {
			<-c.Context().Done()
			time.Sleep(time.Second) // it has to come to an end
			stopped <- time.Now()
			if err := c.Complete(t.Context(), nil); !errors.Is(err, workqueue.ErrClaimLost) {
				t.Errorf("completed while the agent closes: %v", err)
			}
		}()
		go func() {
			if err := list[3].Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if again := mustClaim(t, list[0].WorkQueue("q")); again.Attempt != 2 {
			t.Errorf("attempt %d", again.Attempt)
		} else if since := time.Since(<-stopped); since < 0 || since > time.Second {
			t.Errorf("handed out %v after its worker had stopped", since)
		}
		if err := list[3].Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("a claim that waits: %v", err)
		}
		for _, err := range []error{
			second(q.Enqueue(t.Context(), 1)), second(q.Claim(t.Context())), second(q.Peek(1)), second(q.Depth()), second(q.Get("x")),
			q.Pause(t.Context()), q.Resume(t.Context()), q.Drain(t.Context()), second(q.Purge(t.Context())), second(q.Requeue(t.Context())),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// A worker that does not stop when its agent closes keeps its item until its lease is over.
func TestCloseGivesBackNoClaimOfAWorkerThatGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[2].WorkQueue("q"), 1)
		c := mustClaim(t, list[2].WorkQueue("q"))
		time.Sleep(30 * time.Second)
		until := time.Now().Add(c.Remaining())
		if err := list[2].Close(t.Context()); err != nil {
			t.Error(err)
		}
		if again := mustClaim(t, list[0].WorkQueue("q")); again.Attempt != 2 || time.Now().Before(until) {
			t.Errorf("attempt %d, %v before the first worker's time was over", again.Attempt, time.Until(until))
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A worker that is cut off with its item cannot complete it, and another does.
func TestACompleteWithoutAMajorityIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[1].WorkQueue("q"), "x", workqueue.WithID("x"))
		time.Sleep(time.Second)
		first := mustClaim(t, list[0].WorkQueue("q"), workqueue.WithTTL(2*time.Second))
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		time.Sleep(500 * time.Millisecond) // what is under way still arrives
		if err := first.Complete(t.Context(), "first"); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("without a majority: %v", err)
		}
		second := mustClaim(t, list[1].WorkQueue("q"))
		if err := second.Complete(t.Context(), "second"); err != nil {
			t.Error(err)
		}
		n.Heal()
		time.Sleep(30 * time.Second)
		for _, a := range list {
			if item, err := a.WorkQueue("q").Get("x"); err != nil || item.Result.Any() != "second" {
				t.Errorf("%s: %+v, %v", a.Name(), item, err)
			}
		}
		agreed(t, list)
	})
}

// Many items, workers at every peer, lost packets, a cut and a crash: each item is
// completed validly once.
func TestThousandsOfItemsAreEachCompletedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4) // n3 is no voter, and will crash
		n.SetDelay(time.Millisecond, 3*time.Millisecond)
		const items = 2000
		for i := range items / 4 {
			for _, a := range list {
				mustEnqueue(t, a.WorkQueue("q"), i)
			}
		}
		time.Sleep(time.Second)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var mu sync.Mutex
		valid := make(map[string]int)
		var wg sync.WaitGroup
		for i := range 16 {
			q, fails := list[i%4].WorkQueue("q"), i == 0
			wg.Go(func() {
				for ctx.Err() == nil {
					claims, err := q.ClaimBatch(ctx, 4, workqueue.WithTTL(2*time.Second))
					if errors.Is(err, lockservice.ErrUnavailable) {
						time.Sleep(100 * time.Millisecond)
						continue
					}
					if err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
					for j, c := range claims {
						if fails && j == 0 && c.Attempt == 1 {
							_ = c.Fail(ctx, errors.New("again"), workqueue.WithRetryAfter(time.Second))
							continue
						}
						if c.Complete(ctx, nil) == nil {
							mu.Lock()
							valid[c.ID]++
							mu.Unlock()
						}
					}
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		list[3].stop() // as a crash
		list[3].net.Close()
		n.SetLoss(0.05)
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		time.Sleep(10 * time.Second)
		n.Heal()
		n.SetLoss(0)
		for range 120 {
			time.Sleep(time.Second)
			if d, _ := list[1].WorkQueue("q").Depth(); d.Done == items {
				break
			}
		}
		stop()
		wg.Wait()
		time.Sleep(10 * time.Second)
		for _, a := range list[:3] {
			wantDepth(t, a.WorkQueue("q"), workqueue.Depth{Done: items})
		}
		for id, times := range valid {
			if times > 1 {
				t.Errorf("%s was completed %d times", id, times)
			}
		}
		if len(valid) < items*9/10 {
			t.Errorf("only %d of %d were completed validly; the others' workers did not hear of it", len(valid), items)
		}
	})
}

func TestWhatIsDoneIsBarredUnderEveryOtherToken(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		id := mustEnqueue(t, list[0].WorkQueue("q"), 1)
		c := mustClaim(t, list[0].WorkQueue("q"))
		if err := c.Complete(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, a := range list {
			lock := queue.Lock("q", id)
			if a.queues.Bars(lock, c.Token()) || !a.queues.Bars(lock, c.Token()+1) || a.queues.Bars(queue.Lock("q", "other"), 1) || a.queues.Bars("printer", 1) {
				t.Errorf("%s does not bar what is done, or bars other locks", a.Name())
			}
			if _, err := a.Locks().TryLock(t.Context(), lock); !errors.Is(err, lockservice.ErrBarred) {
				t.Errorf("%s: %v", a.Name(), err)
			}
		}
	})
}

func TestWhatFailedIsBarredUntilItIsDue(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		lock := queue.Lock("q", mustEnqueue(t, list[0].WorkQueue("q"), 1))
		c := mustClaim(t, list[0].WorkQueue("q"))
		if err := c.Fail(t.Context(), errors.New("not now")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second / 4)
		for _, a := range list {
			if a.queues.Bars(lock, c.Token()) || !a.queues.Bars(lock, c.Token()+1) {
				t.Errorf("%s does not bar what is to be tried again later", a.Name())
			}
		}
		time.Sleep(time.Second)
		for _, a := range list {
			if a.queues.Bars(lock, c.Token()+1) {
				t.Errorf("%s bars what is due", a.Name())
			}
		}
	})
}

func TestALostClaimIsPendingAgainAtItsPeer(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		q := virtual(t, n, 0, nil).WorkQueue("q")
		mustEnqueue(t, q, 1)
		mustClaim(t, q, workqueue.WithTTL(time.Second), workqueue.WithManualExtend())
		if again := mustClaim(t, q); again.Attempt != 2 {
			t.Errorf("attempt %d", again.Attempt)
		}
	})
}

// A result that the record of a claim has no room for is refused, and the claim goes on.
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

// What a missing key holds is no item; null is one.
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
