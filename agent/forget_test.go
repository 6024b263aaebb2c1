package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// A peer that crashes many times is listed once in the end. A peer that is down and has not come back
// stays listed, since removals wait for its acknowledgement.
func TestLivesThatWereReplacedAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		crash := func(a *Agent) {
			a.stop()
			a.net.Close() // a crash: the other peers get no notice
			a.Close(t.Context())
		}
		crash(list[2])
		for range 5 {
			b := virtual(t, n, 5, nil)
			time.Sleep(10 * time.Second)
			if err := b.Put(t.Context(), "k", 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			crash(b)
			time.Sleep(time.Minute)
		}
		count := func() map[string]int {
			states := make(map[string]int)
			for _, m := range list[0].Members() {
				states[m.Name+" "+m.State]++
			}
			return states
		}
		if got := count()["n5 dead"]; got != 5 {
			t.Errorf("%d dead lives of n5 are listed at first, want 5", got)
		}
		time.Sleep(time.Hour)
		if got := count()["n5 dead"]; got != 5 {
			t.Errorf("with nobody in their place, %d dead lives of n5 are listed, want 5", got)
		}
		virtual(t, n, 5, nil)
		time.Sleep(10 * time.Second)
		if got := count(); got["n5 dead"] != 0 || got["n5 alive"] != 1 || got["n2 dead"] != 1 || len(list[0].Stats().Blocking) != 1 {
			t.Errorf("when it is back, there are %v, blocked by %v", got, list[0].Stats().Blocking)
		}
		if e, _ := list[0].Entry("k"); list[0].WriterName(e.Dot().Actor) != "n5" {
			t.Errorf("the writer of the last life is %q", list[0].WriterName(e.Dot().Actor))
		}
	})
}

// The transport lists dead members for some time. A forgotten peer does not become a member again
// because of that.
func TestWhoWasForgottenStaysForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		list[2].stop()
		list[2].net.Close() // a crash: the other peers get no notice
		list[2].Close(t.Context())
		time.Sleep(30 * time.Second)
		if err := list[0].Forget("n2"); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]error{"n2": ErrNotFound, "n1": ErrAlive, "n0": ErrAlive, "n9": ErrNotFound} {
			if err := list[0].Forget(name); !errors.Is(err, want) {
				t.Errorf("forget %s: %v, want %v", name, err, want)
			}
		}
		late := virtual(t, n, 4, nil)
		time.Sleep(10 * time.Second)
		for _, m := range list[0].Members() {
			if m.Name == "n2" {
				t.Errorf("it is listed again: %+v", m)
			}
		}
		if got := list[0].Stats().Blocking; len(got) > 0 {
			t.Errorf("removals wait for %v", got)
		}
		virtual(t, n, 2, nil)
		time.Sleep(10 * time.Second)
		if len(list[0].Members()) != 4 || len(late.Members()) < 4 {
			t.Errorf("it came back: %+v", list[0].Members())
		}
	})
}

func TestTheNamesOfPastLivesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := several(t, n, 2, nil)[0]
		names := map[clock.Actor]string{}
		for i := range 3 * maxNames {
			names[clock.Actor{Birth: uint64(i + 1), Rand: 7}] = fmt.Sprint("life ", i+1)
		}
		a.roster.names.Store(&names)
		a.mem.Do(func(r *replica.Replica, _ time.Time) { a.roster.nameMembers(r.Actor()); a.roster.rename(r.Actor()) })
		if got := len(*a.roster.names.Load()); got > maxNames+1 {
			t.Errorf("%d names are kept", got)
		}
		for _, m := range a.Members() {
			actor, err := clock.ParseActor(m.Actor)
			if err != nil || a.WriterName(actor) != m.Name {
				t.Errorf("the member %s is named %s", m.Name, a.WriterName(actor))
			}
		}
		latest := clock.Actor{Birth: 3 * maxNames, Rand: 7}
		if got := a.WriterName(latest); got != fmt.Sprint("life ", 3*maxNames) {
			t.Errorf("the latest past life is named %s", got)
		}
	})
}
