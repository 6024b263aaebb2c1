package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Claims and endings need a majority of the voters in force, not of those in the first configuration.
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
			a.net.Close() // a crash: the other peers get no notice
			a.Close(t.Context())
		}
		time.Sleep(30 * time.Second)
		mustEnqueue(t, list[0].WorkQueue("q"), "x", workqueue.WithID("x"))
		if err := mustClaim(t, list[3].WorkQueue("q")).Complete(t.Context(), 1); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // this peer need not be in the majority that has acknowledged it
		if got, err := list[0].WorkQueue("q").Get("x"); err != nil || got.State != workqueue.Done {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// An Extend whose context ends has not lost the claim.
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

// A worker that was paused for longer than its lease is refused, and another worker has its item.
func TestAStaleWorkersCompleteIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q := list[0].WorkQueue("q")
		mustEnqueue(t, q, "x", workqueue.WithID("x"))
		first := mustClaim(t, q, workqueue.WithTTL(2*time.Second), workqueue.WithBearer())
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
		// A late record of the paused worker loses on every peer against one of a greater token.
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
		for i, how := range [][]workqueue.ClaimOption{{workqueue.WithTTL(time.Second)}, {workqueue.WithTTL(time.Second), workqueue.WithBearer()}} {
			c, err := list[2-i].WorkQueue("q").Claim(t.Context(), how...)
			for errors.Is(err, lockservice.ErrUnavailable) { // the dead peer owned the lock, and the others have not noticed yet
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
				list[2].stop() // a crash
				list[2].net.Close()
				continue
			}
			time.Sleep(2 * time.Second) // the claim is not extended
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dead := 0
		events := list[0].Events(ctx)
		if c, err := list[0].WorkQueue("q").Claim(ctx); err == nil {
			t.Errorf("attempt %d of 2", c.Attempt)
		}
		for e := range events.C { // the channel is closed when ctx ends
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
		for len(finished) < 20 { // right after the cut, when not every ending has arrived yet
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

// Close cancels the context of a claim, and gives the claim back when its worker has stopped, not before,
// since the worker may still be at work.
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
			time.Sleep(time.Second) // the worker needs time to stop
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

// A worker that does not stop when its agent closes keeps its item until its lease ends.
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

// A worker that is cut off with its item cannot complete it, and another worker does.
func TestACompleteWithoutAMajorityIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[1].WorkQueue("q"), "x", workqueue.WithID("x"))
		time.Sleep(time.Second)
		first := mustClaim(t, list[0].WorkQueue("q"), workqueue.WithTTL(2*time.Second))
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		time.Sleep(500 * time.Millisecond) // until packets under way have arrived
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

// Each of many items is completed validly once, by workers at every peer, in spite of lost packets, a cut
// and a crash.
func TestThousandsOfItemsAreEachCompletedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4) // n3 is not a voter, and will crash
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
		list[3].stop() // a crash
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
		mustClaim(t, q, workqueue.WithTTL(time.Second), workqueue.WithBearer())
		if again := mustClaim(t, q); again.Attempt != 2 {
			t.Errorf("attempt %d", again.Attempt)
		}
	})
}
