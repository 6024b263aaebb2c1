package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// voting starts peers of which the first three are voters.
func voting(t *testing.T, n *memnet.Network, count int) []*Agent {
	return several(t, n, count, func(c *Config) {
		c.Locks = LockConfig{Voters: []string{"n0", "n1", "n2"}, FirstBoot: true}
	})
}

func TestALockIsHeldByOnePeerAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 4) // n3 is not a voter
		first, err := list[3].Locks().Lock(t.Context(), "printer")
		if err != nil {
			t.Fatal(err)
		}
		var held *lockservice.HeldError
		if _, err := list[0].Locks().TryLock(t.Context(), "printer"); !errors.As(err, &held) || held.Holder != "n3" {
			t.Errorf("while n3 holds it: %v", err)
		}
		next := make(chan *lockservice.Lease)
		go func() {
			l, err := list[1].Locks().Lock(t.Context(), "printer")
			if err != nil {
				t.Error(err)
			}
			next <- l
		}()
		time.Sleep(40 * time.Second) // the lease is renewed by itself
		if first.Err() != nil {
			t.Fatalf("the lease ended: %v", first.Err())
		}
		if err := first.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		if l := <-next; l == nil || l.Token() <= first.Token() {
			t.Errorf("the next token does not exceed %d", first.Token())
		}
		info, err := list[2].Locks().Inspect(t.Context(), "printer")
		if err != nil || len(info.Holders) != 1 || info.Holders[0].Inst.Node != "n1" {
			t.Errorf("n2 is told %+v, %v", info, err)
		}
	})
}

// A holder that is cut off loses its lease at its own deadline and is notified. The majority grants the
// lock to the next client.
func TestAHolderThatIsCutOffLosesItsLease(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		events := list[0].Events(t.Context())
		first, err := list[0].Locks().Lock(t.Context(), "printer", lockservice.WithTTL(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if got := first.Guarantee(); got != lockservice.Quorum {
			t.Errorf("it is worth %v", got)
		}
		n.Split([]string{address(0)}, []string{address(1), address(2)})
		second, err := list[1].Locks().Lock(t.Context(), "printer")
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(first.Err(), lockservice.ErrLost) || second.Token() <= first.Token() {
			t.Errorf("the first: %v; tokens %d, then %d", first.Err(), first.Token(), second.Token())
		}
		for e := range events.C {
			if e.Type == LockLost {
				if e.Name != "printer" {
					t.Errorf("lost %q", e.Name)
				}
				break
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var none *lockservice.UnavailableError
		if _, err := list[0].Locks().Lock(ctx, "other"); !errors.As(err, &none) || none.Reachable >= none.Needed {
			t.Errorf("without a majority: %v", err)
		}
	})
}

func TestTheHolderOfATaskIsVisibleToAll(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := voting(t, n, 3)
		l, err := list[1].Tasks().AcquireLock(t.Context(), "42", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 { // longer than the TTL of the first record
			time.Sleep(time.Second)
			for _, a := range list {
				h, err := a.Tasks().Holder("42")
				if err != nil || h.Holder != "n1" || h.Token != l.Token() {
					t.Fatalf("after %d s %s reads %+v, %v", i+1, a.Name(), h, err)
				}
			}
		}
		if err := list[0].Tasks().ReleaseLock(t.Context(), "42"); !errors.Is(err, lockservice.ErrNotHolder) {
			t.Errorf("release by a stranger: %v", err)
		}
		if err := list[1].Tasks().ReleaseLock(t.Context(), "42"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if h, err := list[2].Tasks().Holder("42"); !errors.Is(err, ErrNotFound) {
			t.Errorf("released, and still %+v, %v", h, err)
		}
		if _, err := list[1].Tasks().AcquireLock(t.Context(), "43", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := list[1].Close(t.Context()); err != nil {
			t.Error(err)
		}
		if l, err := list[2].Tasks().AcquireLock(t.Context(), "43", 5*time.Second); err != nil || l.Token() == 0 {
			t.Errorf("after its holder left: %v", err)
		}
		time.Sleep(time.Second)
		if h, err := list[0].Tasks().Holder("43"); err != nil || h.Holder != "n2" {
			t.Errorf("then it is held by %+v, %v", h, err)
		}
	})
}

// A peer without configured voters grants locks to its own callers at once.
func TestAPeerAloneHasLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		openAt := func() *Agent {
			l, err := memnet.New(1).Listen(address(0))
			if err != nil {
				t.Fatal(err)
			}
			return open(t, Config{Name: "n0", Bind: address(0), Network: l, Locks: LockConfig{StateDir: dir}})
		}
		a := openAt()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, err := a.Locks().Lock(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		if got := first.Guarantee(); got != lockservice.ThisPeer {
			t.Errorf("it is worth %v", got)
		}
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(first.Err(), lockservice.ErrLost) {
			t.Errorf("closed, and the lease: %v", first.Err())
		}
		b := openAt() // clients of the earlier run may still be at work
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var silent *lockservice.UnavailableError
		if _, err := b.Locks().Lock(ctx, "k"); !errors.As(err, &silent) || silent.Quarantine < 10*time.Second {
			t.Errorf("at once after a restart: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		second, err := b.Locks().Lock(ctx, "k")
		if err != nil || second.Token() <= first.Token() {
			t.Errorf("later: %v", err)
		}
		time.Sleep(20 * time.Second)
	})
}

func TestWrongLockConfigurationsAreNamed(t *testing.T) {
	f := func(c LockConfig, want error) {
		t.Helper()
		a, err := Open(t.Context(), Config{Name: "n", Cluster: "c", Locks: c})
		if err == nil {
			a.Close(t.Context())
		}
		if !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", c, err, want)
		}
	}
	f(LockConfig{Voters: slices.Repeat([]string{"a"}, 2)}, lockservice.ErrVoters)
	f(LockConfig{Voters: []string{"a", "b", "c", "d", "e", "f", "g", "h"}}, lockservice.ErrVoters)
	f(LockConfig{Voters: []string{"a"}, BestEffort: true}, lockservice.ErrVoters)
}

// Every member announces the guarantee of its leases, and each change of it.
func TestMembersTellWhatTheirLeasesAreWorth(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		named := virtual(t, n, 0, func(c *Config) { c.Locks = LockConfig{Voters: []string{"n0"}, FirstBoot: true} })
		lone := virtual(t, n, 1, nil)
		best := virtual(t, n, 2, func(c *Config) { c.Locks = LockConfig{BestEffort: true} })
		check := func(want ...string) {
			t.Helper()
			time.Sleep(30 * time.Second)
			for _, a := range []*Agent{named, lone, best} {
				for _, m := range a.Members() {
					if i := int(m.Name[1] - '0'); m.Locks != want[i] {
						t.Errorf("%s takes the leases of %s for %s, want %s", a.Name(), m.Name, m.Locks, want[i])
					}
				}
			}
		}
		check("quorum", "this-peer", "best-effort")
		if err := lone.Locks().Reload(lockservice.Voters{Epoch: 2, Names: []string{"n1", "n0"}}); err != nil {
			t.Fatal(err)
		}
		check("quorum", "quorum", "best-effort")
	})
}
