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

// vanishing is the context of a client that goes as it is granted a lease.
type vanishing struct {
	context.Context
	leases *Leases
	gone   context.CancelCauseFunc
}

var errGone = errors.New("the client has gone")

func (v *vanishing) Err() error {
	v.leases.mu.Lock()
	defer v.leases.mu.Unlock()
	if len(v.leases.held) > 0 {
		v.gone(errGone)
	}
	return v.Context.Err()
}

// A lease that nobody is there to take is given back, and the call says so.
func TestALeaseThatNobodyTakesIsGivenBack(t *testing.T) {
	fleet(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		leases := NewLeases()
		for _, body := range []string{`{}`, `{"wait":"5s"}`} {
			ctx, gone := context.WithCancelCause(t.Context())
			r := Request{Key: "k", Leases: leases, Body: []byte(body), Longer: func(time.Duration) (context.Context, error) {
				return &vanishing{ctx, leases, gone}, nil
			}}
			if res, err := Find("lock_acquire").Do(t.Context(), peers[0], r); !errors.Is(err, errGone) || res.Body != nil {
				t.Errorf("%s: answers %v, %v", body, res, err)
			}
			synctest.Wait()
			r.Longer = nil
			got, err := call[Lease](t, peers[0], "lock_acquire", r)
			if err != nil {
				t.Fatalf("%s: the lock is not free: %v", body, err)
			}
			r.Body = fmt.Appendf(nil, `{"lease":%q}`, got.Lease)
			if _, err := call[any](t, peers[0], "lock_release", r); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
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

// Without a majority of voters the question who holds a lock is answered at once, by what
// this peer has on record; and by the voters as soon as they can be asked.
func TestWhoHoldsALockIsToldWithoutAMajority(t *testing.T) {
	voting(t, 3, func(t *testing.T, n *memnet.Network, peers []*agent.Agent) {
		leases := NewLeases()
		if _, err := call[Lease](t, peers[0], "lock_acquire", Request{Key: "deploy", Body: []byte(`{"ttl":"15s"}`), Leases: leases}); err != nil {
			t.Fatal(err)
		}
		ask := func(what, source string, within time.Duration, holders int) {
			t.Helper()
			began := time.Now()
			got, err := call[LockInfo](t, peers[0], "lock_inspect", Request{Key: "deploy"})
			if err != nil || got.Source != source || len(got.Holders) != holders || (got.Why == "") != (source == "voters") || got.Certain != (source == "voters") {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
			if took := time.Since(began); took > within {
				t.Errorf("%s: it took %v", what, took)
			}
		}
		time.Sleep(time.Second)
		ask("all are up", "voters", time.Second, 1)
		n.Split([]string{"10.0.0.1:7946"}, []string{"10.0.0.2:7946", "10.0.0.3:7946"})
		ask("just cut", "here", inspectWait, 1)
		time.Sleep(10 * time.Second)
		ask("known to be cut", "here", 0, 1)
		time.Sleep(30 * time.Second)
		ask("the lease has run out", "here", 0, 0)
		n.Heal()
		time.Sleep(time.Minute)
		ask("healed", "voters", time.Second, 0)
	})
}
