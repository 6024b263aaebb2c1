package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// mustFind returns a claim by its lease, as Queue.Claimed does.
func mustFind(t *testing.T, q workqueue.Queue, c *workqueue.Claim) *workqueue.Claim {
	t.Helper()
	found, err := q.Claimed(t.Context(), c.ID, c.Lease(), c.Token())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A worker in another process keeps its item when its peer stops, and finishes it at the next peer.
func TestAClaimGoesOnAtAnotherPeer(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		q := func(i int) workqueue.Queue { return list[i].WorkQueue("q") }
		mustEnqueue(t, q(0), "x", workqueue.WithID("x"))
		c := mustClaim(t, q(0), workqueue.WithBearer())
		if err := list[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			found := mustFind(t, q(1), c)
			if left, err := found.Extend(t.Context()); err != nil || left < 9*time.Second || found.Attempt != 1 || found.Value.Any() != "x" {
				t.Fatalf("%+v for %v, %v", found, left, err)
			}
			noClaim(t, q(2), 8*time.Second)
		}
		if err := mustFind(t, q(2), c).Complete(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		for i := 1; i < 3; i++ {
			if item, err := q(i).Get("x"); err != nil || item.State != workqueue.Done || item.Result.Any() != "done" {
				t.Errorf("%d: %+v, %v", i, item, err)
			}
			if _, err := q(i).Claimed(t.Context(), c.ID, c.Lease(), c.Token()); !errors.Is(err, workqueue.ErrClaimLost) {
				t.Errorf("found after its end: %v", err)
			}
		}
		wantDepth(t, q(1), workqueue.Depth{Done: 1})
	})
}

// A bearer that has failed an item at one peer cannot complete it at another peer that had the claim too.
func TestAClaimIsFinishedOnceAtAllPeers(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[0].WorkQueue("q"), "x")
		c := mustClaim(t, list[0].WorkQueue("q"), workqueue.WithBearer())
		other := mustFind(t, list[1].WorkQueue("q"), c)
		if err := c.Fail(t.Context(), errors.New("no"), workqueue.WithRetryAfter(0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := other.Extend(t.Context()); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("extended after its end: %v", err)
		}
		again := mustClaim(t, list[2].WorkQueue("q"))
		if again.Token() <= c.Token() || again.Attempt != 2 {
			t.Errorf("token %d, attempt %d", again.Token(), again.Attempt)
		}
		if err := other.Complete(t.Context(), nil); !errors.Is(err, workqueue.ErrClaimLost) {
			t.Errorf("completed after its end: %v", err)
		}
	})
}

// When the lease of a worker in another process has run out and its peer is still up, a call that does not
// wait gets the item at once.
func TestAnItemWhoseWorkerIsGoneIsClaimedWithoutAWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		mustEnqueue(t, list[0].WorkQueue("q"), "x")
		mustClaim(t, list[0].WorkQueue("q"), workqueue.WithBearer(), workqueue.WithTTL(2*time.Second))
		time.Sleep(2200 * time.Millisecond)
		if c := mustClaim(t, list[1].WorkQueue("q"), workqueue.WithWait(0)); c.Attempt != 2 {
			t.Errorf("attempt %d", c.Attempt)
		}
	})
}

// A claim that goes on at another peer is not given up at the peer where it was made, and is not counted as
// lost there.
func TestAClaimThatGoesOnElsewhereIsNotGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		var log bytes.Buffer
		handler := slog.NewTextHandler(&log, nil)
		list := several(t, n, 3, func(c *Config) {
			c.Locks, c.Logger = LockConfig{Voters: []string{"n0", "n1", "n2"}, FirstBoot: true}, slog.New(handler)
		})
		events := list[0].Events(t.Context())
		q := func(i int) workqueue.Queue { return list[i].WorkQueue("q") }
		mustEnqueue(t, q(0), "x", workqueue.WithID("x"))
		c := mustClaim(t, q(0), workqueue.WithBearer(), workqueue.WithTTL(2*time.Second))
		for range 30 {
			time.Sleep(time.Second)
			if _, err := mustFind(t, q(1), c).Extend(t.Context()); err != nil {
				t.Fatal(err)
			}
			noClaim(t, q(2), 0)
		}
		if item, err := q(2).Get("x"); err != nil || item.State != workqueue.Claimed || item.Error != "" {
			t.Errorf("%+v, %v", item, err)
		}
		if err := mustFind(t, q(1), c).Complete(t.Context(), nil); err != nil {
			t.Error(err)
		}
		for e := range events.C {
			if e.Type == ClaimLost || e.Type == LockLost {
				t.Errorf("%+v", e)
			}
			if e.Type == ClaimLapsed {
				break
			}
		}
		synctest.Wait()
		if st := list[0].Stats().Queues["q"]; st.Lost != 0 || st.Lapsed != 1 ||
			list[0].Locks().Stats().Lost != 0 || !strings.Contains(log.String(), "lease over at this peer") || strings.Contains(log.String(), "WARN") {
			t.Errorf("%+v\n%s", st, log.String())
		}
	})
}
