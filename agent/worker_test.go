package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// crash ends a peer as kill -9 does: it gives the other peers no notice.
func crash(a *Agent) {
	a.stop()
	a.net.Close()
}

func TestAKilledWorkerIsNotActiveAfterItsTTL(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list, ids := several(t, n, 4, nil), workerIDs(t)
		if err := list[3].Workers().SetStatus(t.Context(), "n3", fleet.WorkerStatus{Status: "busy"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		crash(list[3])
		time.Sleep(60 * time.Second) // the promise is twice the TTL at most
		for _, p := range list[:3] {
			if got := ids(p.Workers().Active()); len(got) != 3 {
				t.Errorf("%s says %v are active", p.Name(), got)
			}
			w, err := p.Workers().Get("n3")
			if err != nil || w.State != fleet.Unreachable || w.Status != "busy" || w.Host != "n3" {
				t.Errorf("%s says %+v, %v", p.Name(), w, err)
			}
		}
		if err := list[0].Forget("n3"); err != nil {
			t.Fatal(err)
		}
		if w, err := list[0].Workers().Get("n3"); err != nil || w.State != fleet.Gone {
			t.Errorf("forgotten: %+v, %v", w, err)
		}
	})
}

// The worker of a peer that closes is not active from then on, even while Close still waits for a peer
// that does not acknowledge the last writes.
func TestAWorkerThatLeavesIsOutBeforeItHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list, ids := several(t, n, 3, nil), workerIDs(t)
		n.Split([]string{address(0), address(1)}, []string{address(2)})
		if err := list[0].Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- list[0].Close(t.Context()) }()
		time.Sleep(500 * time.Millisecond)
		if got := ids(list[1].Workers().Active()); fmt.Sprint(got) != "[n1 n2]" {
			t.Errorf("active: %v", got)
		}
		if len(done) > 0 {
			t.Error("it did not wait: the test is too tame")
		}
		var short *ReplicationError
		if err := <-done; !errors.As(err, &short) {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestDuringACutWorkersAreOutOfSightAndNotGone(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list, ids := several(t, n, 4, nil), workerIDs(t)
		n.Split([]string{address(0), address(1)}, []string{address(2), address(3)})
		time.Sleep(time.Minute)
		for i, p := range list {
			here, there := "[n0 n1]", "[n2 n3]"
			if i > 1 {
				here, there = there, here
			}
			if got := ids(p.Workers().Active()); fmt.Sprint(got) != here {
				t.Errorf("%s says %v are active", p.Name(), got)
			}
			if got := ids(p.Workers().Unreachable()); fmt.Sprint(got) != there {
				t.Errorf("%s says %v are out of sight", p.Name(), got)
			}
		}
		n.Heal()
		time.Sleep(30 * time.Second)
		for _, p := range list {
			if got := ids(p.Workers().Active()); len(got) != 4 {
				t.Errorf("healed, %s says %v are active", p.Name(), got)
			}
		}
	})
}

// The status of a worker lasts as long as the worker beats, and one TTL more.
func TestAStatusLivesAsLongAsItsWorker(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 2, func(c *Config) { c.DefaultTTL = 2 * time.Minute })
		w := list[0].Workers()
		for _, err := range []error{
			w.SetStatus(t.Context(), "n0", fleet.WorkerStatus{Status: "idle"}), w.SetCapacity(t.Context(), "n0", 3),
			w.SetStatus(t.Context(), "elsewhere", fleet.WorkerStatus{Status: "idle"}),
			w.SetStatus(t.Context(), "short", map[string]any{"status": "odd"}, WithTTL(10*time.Second)),
			w.SetStatus(t.Context(), "kept", fleet.WorkerStatus{Status: "idle"}, WithTTL(0)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(8 * time.Minute)
		got, err := list[1].Workers().Get("n0")
		if err != nil || got.Status != "idle" || got.Capacity != 3 || got.Free() != 3 {
			t.Errorf("after four times the TTL: %+v, %v", got, err)
		}
		if n := list[0].Stats().Vector.Get(list[0].Actor()); n > 25 {
			t.Errorf("%d writes keep it for eight minutes", n)
		}
		for id, want := range map[string]error{"elsewhere": ErrNotFound, "short": ErrNotFound, "kept": nil} {
			if _, err := list[1].Workers().Get(id); !errors.Is(err, want) {
				t.Errorf("%s: %v", id, err)
			}
		}
		crash(list[0])
		time.Sleep(4 * time.Minute)
		if _, err := list[1].Workers().Status("n0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("long after its worker was killed: %v", err)
		}
	})
}

func TestAPeerMayBeNoWorker(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list, ids := several(t, n, 2, func(c *Config) {
			if c.Name == "n1" {
				c.HeartbeatInterval = Manual
			}
		}), workerIDs(t)
		if got := ids(list[0].Workers().Active()); fmt.Sprint(got) != "[n0]" {
			t.Errorf("active: %v", got)
		}
		if err := list[1].Workers().Heartbeat(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := ids(list[0].Workers().Active()); fmt.Sprint(got) != "[n0 n1]" {
			t.Errorf("after a heartbeat: %v", got)
		}
		if err := list[1].Workers().Remove(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := ids(list[0].Workers().List()); fmt.Sprint(got) != "[n0]" {
			t.Errorf("removed: %v", got)
		}
	})
}

func TestARecordRefusesWhatIsNoID(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	ctx := t.Context()
	var key *crdt.KeyError
	for _, id := range []string{"", "a/b", "..", "\x00"} {
		_, err1 := a.Tasks().State(id)
		_, err2 := a.Agents().List(id)
		_, err3 := a.Workers().Get(id)
		for i, err := range []error{
			a.Tasks().SetState(ctx, id, fleet.TaskState{}), a.Tasks().SetProgress(ctx, id, 1, ""), a.Tasks().Delete(ctx, id), err1,
			a.Agents().SetCoordination(ctx, id, "x", fleet.AgentInfo{}), a.Agents().SetCoordination(ctx, "x", id, fleet.AgentInfo{}), err2,
			a.Workers().SetStatus(ctx, id, fleet.WorkerStatus{}), a.Workers().SetCapacity(ctx, id, 1), a.Workers().Heartbeat(ctx, id), a.Workers().Remove(ctx, id), err3,
		} {
			if !errors.As(err, &key) {
				t.Errorf("id %q, call %d: %v", id, i, err)
			}
		}
	}
	if err := a.Workers().SetCapacity(ctx, "w", -1); err == nil {
		t.Error("a capacity below nothing is accepted")
	}
	if err := a.Workers().HeartbeatFor(ctx, -time.Second); err == nil {
		t.Error("a heartbeat in the past is accepted")
	}
}
