package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func TestATaskShowsWhoHoldsItsLock(t *testing.T) {
	several(t, 2, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
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

// vanishing is the context of a client that goes at the moment it is granted a lease.
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

// A lease whose client has gone is released, and the call returns an error.
func TestALeaseThatNobodyTakesIsGivenBack(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
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

// The number of leases for clients is bounded, and that for one client by its share. Each lease
// that ends makes room.
func TestTheTableOfLeasesIsBounded(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		leases := NewLeases()
		leases.places = NewShares("leases", 3, 2)
		do := func(caller, name, key, lease string) (Lease, error) {
			ctx := WithCaller(t.Context(), caller)
			r := Request{Key: key, Leases: leases, Query: url.Values{}}
			if lease != "" {
				r.Query.Set("lease", lease)
			}
			res, err := Find(name).Do(ctx, peers[0], r)
			got, _ := res.Body.(Lease)
			return got, err
		}
		take := func(caller, key string, own, full bool) (got Lease) {
			t.Helper()
			got, err := do(caller, "lock_acquire", key, "")
			limit, limited := errors.AsType[*LimitError](err)
			if limited != (own || full) || limited && limit.Own != own || !limited && err != nil {
				t.Errorf("%s takes %s: %v", caller, key, err)
			}
			return got
		}
		first := take("a", "1", false, false)
		take("a", "2", false, false)
		take("a", "3", true, false)
		take("b", "3", false, false)
		take("b", "4", false, true)
		if _, err := do("b", "lock_release", "1", first.Lease); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := do("b", "lock_acquire", "2", ""); !errors.Is(err, lockservice.ErrHeld) {
			t.Errorf("held: %v", err)
		}
		if _, err := do("b", "lock_renew", "1", first.Lease); !errors.Is(err, lockservice.ErrNotHolder) {
			t.Errorf("released: %v", err)
		}
		if n := leases.places.Taken(); n != 2 {
			t.Errorf("%d places are taken by two leases", n)
		}
		take("a", "1", false, false)
	})
}

// Without a majority of voters, the holders of a lock are answered at once from the records of this
// peer; as soon as the voters can be asked, from theirs.
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
		ask("just cut", "here", 500*time.Millisecond, 1)
		time.Sleep(2 * time.Second)
		ask("not heard of for some seconds", "here", 500*time.Millisecond, 1)
		ask("which is known now", "here", 0, 1)
		time.Sleep(10 * time.Second)
		ask("known to be cut", "here", 0, 1)
		time.Sleep(30 * time.Second)
		ask("the lease has run out", "here", 0, 0)
		n.Heal()
		time.Sleep(time.Minute)
		ask("healed", "voters", time.Second, 0)
	})
}
