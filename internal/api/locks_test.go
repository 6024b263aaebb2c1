package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func TestATaskShowsWhoHoldsItsLock(t *testing.T) {
	fleet(t, 2, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		lease, err := peers[0].Tasks().AcquireLock(t.Context(), "42", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got, err := call[Task](t, peers[1], "task_get", Request{ID: "42"})
		if err != nil || got.Lock == nil || got.Lock.Holder != "n1" || got.Lock.Token != lease.Token() {
			t.Errorf("the other peer shows %+v, %v", got, err)
		}
		if err := lease.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got, err := call[Task](t, peers[1], "task_get", Request{ID: "42"}); err == nil {
			t.Errorf("released, and it shows %+v", got)
		}
	})
}

// No more leases are held for clients than there is room for; each that ends makes some.
func TestTheTableOfLeasesIsBounded(t *testing.T) {
	fleet(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		leases := NewLeases()
		r := Request{Key: "k", Leases: leases, Longer: func(time.Duration) (context.Context, error) { return t.Context(), nil }}
		leases.busy = maxLeases - 1
		g, err := call[Lease](t, peers[0], "lock_acquire", r)
		if err != nil {
			t.Fatal(err)
		}
		r.Key = "other"
		if _, err := call[Lease](t, peers[0], "lock_acquire", r); !errors.Is(err, ErrTooManyLeases) {
			t.Errorf("one too many: %v", err)
		}
		r.Key, r.Body = "k", fmt.Appendf(nil, `{"lease":%q}`, g.Lease)
		if _, err := call[any](t, peers[0], "lock_release", r); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.Body = nil
		if _, err := call[Lease](t, peers[0], "lock_acquire", r); err != nil {
			t.Errorf("after one was released: %v", err)
		}
		if _, err := call[Lease](t, peers[0], "lock_acquire", r); !errors.Is(err, ErrTooManyLeases) {
			t.Errorf("one too many again: %v", err)
		}
		leases.busy--
		if _, err := call[Lease](t, peers[0], "lock_acquire", r); !errors.Is(err, lockservice.ErrHeld) || leases.busy != maxLeases-1 {
			t.Errorf("held: %v, and %d are counted", err, leases.busy)
		}
	})
}
