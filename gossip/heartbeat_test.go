package gossip

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// fleet runs machines that send each other frames, in steps of 50 ms.
type fleet struct {
	t    testing.TB
	now  time.Time
	list []*machine
	deaf map[clock.Actor]bool // machines that neither send nor receive
}

func newFleet(t testing.TB, n int) *fleet {
	return &fleet{t, t0, cluster(n), map[clock.Actor]bool{}}
}

func (f *fleet) run(d time.Duration) {
	f.t.Helper()
	for until := f.now.Add(d); f.now.Before(until); f.now = f.now.Add(50 * time.Millisecond) {
		for _, m := range f.list {
			if f.deaf[m.cfg.Self] {
				continue
			}
			m.Tick(f.now)
			for _, e := range m.Envelopes() {
				if i := int(e.To.Rand) - 1; !f.deaf[e.To] {
					if err := f.list[i].Receive(f.now, e.Frame); err != nil {
						f.t.Fatal(err)
					}
				}
			}
		}
	}
}

// view sets the view of m: the first peer is as given, or not listed if it is nil, and all others are up.
func (f *fleet) view(m *machine, first *Peer) {
	peers := []Peer{{Actor: m.cfg.Self, Name: "self", Alive: true}}
	for i, o := range f.list {
		switch {
		case i == 0 && first != nil:
			peers = append(peers, *first)
		case i > 0 && o != m:
			peers = append(peers, Peer{Actor: o.cfg.Self, Name: fmt.Sprint("n", i), Alive: true})
		}
	}
	m.SetView(f.now, peers)
}

// sees returns the state of a worker on machine i.
func (f *fleet) sees(i int, worker string) Liveness {
	h, _ := f.list[i].Heartbeat(f.now, worker)
	return h.State
}

func (f *fleet) want(i int, worker string, want Liveness, why string) {
	f.t.Helper()
	if got := f.sees(i, worker); got != want {
		f.t.Errorf("%s: n%d says %s is %q, want %q", why, i, worker, got, want)
	}
}

// One of two peers has the other in its view first. The leases that it sends before the other has it in its view
// too are ignored there, and are sent again.
func TestWorkersAreToldOnceTheOtherKnowsThisPeer(t *testing.T) {
	f := newFleet(t, 2)
	host, other := f.list[0], f.list[1]
	host.SetView(f.now, []Peer{{Actor: host.cfg.Self, Name: "n0", Alive: true}})
	f.view(other, nil)
	if err := host.Host(f.now, "a", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	f.run(time.Second)
	host.SetView(f.now, []Peer{{Actor: host.cfg.Self, Name: "n0", Alive: true}, {Actor: other.cfg.Self, Name: "n1", Alive: true}})
	f.run(2 * time.Second)
	f.want(1, "a", 0, "a host that is no member is not believed")
	f.view(other, &Peer{Actor: host.cfg.Self, Name: "n0", Alive: true})
	f.run(500 * time.Millisecond)
	f.want(1, "a", Active, "the host is a member")
}

func TestAWorkerLivesAsLongAsItsHostRenewsItsLease(t *testing.T) {
	const ttl = 30 * time.Second
	f := newFleet(t, 3)
	host := f.list[0]
	for id, err := range map[string]error{
		"a": host.Host(f.now, "a", ttl), "b": host.Beat(f.now, "b", ttl), "c": host.Beat(f.now, "c", ttl),
	} {
		if err != nil {
			t.Fatal(id, err)
		}
	}
	f.run(100 * time.Millisecond)
	for _, w := range []string{"a", "b", "c"} {
		f.want(1, w, Active, "at once")
		f.want(0, w, Active, "on its host")
	}
	_ = host.Beat(f.now, "a", time.Second) // does not shorten the lease that Host renews
	f.run(ttl + 6*time.Second)             // and until the next heartbeat of the host
	f.want(1, "a", Active, "renewed by its host")
	f.want(1, "b", 0, "its worker fell silent while the host went on")
	if got := f.list[0].Hosted(f.now); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the host still renews %v", got)
	}
	host.Release(f.now, "a")
	f.run(100 * time.Millisecond)
	f.want(1, "a", 0, "released")
	f.want(0, "a", 0, "released")

	// The worker moves to another host, and the former host's Release has no effect any more.
	_ = host.Host(f.now, "m", ttl)
	f.run(time.Second)
	_ = f.list[1].Host(f.now, "m", ttl)
	f.run(time.Second)
	host.Release(f.now, "m")
	f.run(100 * time.Millisecond)
	f.want(2, "m", Active, "moved")
}

// The former host of a worker that moved still announces the rest of its lease.
func TestAWorkerThatMovesIsActiveAllTheTime(t *testing.T) {
	f := newFleet(t, 3)
	_ = f.list[0].Beat(f.now, "m", 12*time.Second)
	f.run(4 * time.Second)
	_ = f.list[1].Beat(f.now, "m", 30*time.Second)
	for range 25 {
		f.run(time.Second)
		f.want(2, "m", Active, fmt.Sprint("at ", f.now.Sub(t0)))
	}
	if h, _ := f.list[2].Heartbeat(f.now, "m"); h.Host != f.list[1].cfg.Self {
		t.Errorf("it beats through %v", h.Host)
	}
}

func TestWhoIsOutOfSightIsNotGone(t *testing.T) {
	const ttl = 30 * time.Second
	f := newFleet(t, 3)
	first := Peer{Actor: f.list[0].cfg.Self, Name: "n0", Alive: true}
	_ = f.list[0].Host(f.now, "w", ttl)
	f.run(time.Second)

	f.deaf[first.Actor] = true // cut off or killed: the other peers cannot tell which
	f.run(10 * time.Second)
	f.want(1, "w", Active, "its lease runs")
	f.run(ttl)
	f.want(1, "w", Unreachable, "its lease ran out, and its host was not heard since")
	dead := first
	dead.Alive = false
	f.view(f.list[1], &dead)
	f.want(1, "w", Unreachable, "its host is down")

	f.deaf[first.Actor] = false
	f.view(f.list[1], &first)
	f.run(5 * time.Second)
	f.want(1, "w", Active, "healed")

	dead.Alive = false
	f.view(f.list[1], &dead)
	f.want(1, "w", Unreachable, "its host is down, though the lease runs")
	f.view(f.list[1], nil)
	f.want(1, "w", 0, "its host left")
	f.view(f.list[2], &dead)
	again := append([]Peer{dead, {Actor: clock.Actor{Birth: 2, Rand: 1}, Name: "n0", Alive: true}}, both...)
	f.list[2].SetView(f.now, again)
	f.want(2, "w", 0, "its host came back as another life")
}

func TestAPeerThatJoinsIsToldOfTheWorkers(t *testing.T) {
	f := newFleet(t, 3)
	host, late := f.list[0], f.list[2]
	f.deaf[late.cfg.Self] = true
	_ = host.Host(f.now, "w", 30*time.Second)
	f.run(time.Second)
	f.want(2, "w", 0, "not there yet")
	f.deaf[late.cfg.Self] = false
	peers := []Peer{{Actor: f.list[1].cfg.Self, Name: "n1", Alive: true}, {Actor: late.cfg.Self, Name: "n2", Alive: false}}
	host.SetView(f.now, peers)
	peers[1].Alive = true
	host.SetView(f.now, peers)
	f.run(2 * greetDelay)
	f.want(2, "w", Active, "greeted before the next heartbeat")
}

func TestHeartbeatsAreBounded(t *testing.T) {
	a := newMachine(ann, nil)
	var key *crdt.KeyError
	for _, id := range []string{"", "a/b", "\xff", "a\nb", "..", strings.Repeat("w", MaxWorkerID+1)} {
		if err := a.Host(t0, id, time.Second); !errors.As(err, &key) {
			t.Errorf("worker %.10q: %v", id, err)
		}
	}
	if err := a.Beat(t0, "w", 0); err == nil {
		t.Error("a heartbeat of no duration is accepted")
	}
	for i := range MaxWorkers {
		if err := a.Host(t0, fmt.Sprint(i), 1000*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Host(t0, "one more", time.Second); !errors.Is(err, ErrTooManyWorkers) {
		t.Errorf("one worker too many: %v", err)
	}
	a.Tick(t0)
	b := newMachine(bob, nil)
	for _, e := range a.Envelopes() {
		if e.Class == Bulk {
			t.Fatal("heartbeats wait behind bulk")
		}
		if err := b.Receive(t0, e.Frame); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.Heartbeats(t0)); n != MaxWorkers {
		t.Errorf("%d workers arrived", n)
	}
	if h, _ := b.Heartbeat(t0, "7"); h.Remaining != MaxHeartbeatTTL {
		t.Errorf("a lease of %v", h.Remaining)
	}
	w := a.begin()
	w.section(secBeats, 2)
	w.body = append(w.body, 0xa3, 'a', '/', 'b', 5)
	var bad *FrameError
	if err := b.Receive(t0, a.finish(w, 0, false)); !errors.As(err, &bad) || bad.Reason != "malformed" {
		t.Errorf("a foreign name: %v", err)
	}
	// There is no room for a lease of another host, until those of a host that left are removed.
	carol := Peer{Actor: clock.Actor{Birth: 3, Rand: 3}, Name: "carol", Alive: true}
	b.SetView(t0, append([]Peer{carol}, both...))
	late := newMachine(carol.Actor, nil)
	_ = late.Host(t0, "late", time.Minute)
	late.Tick(t0)
	frame := late.Envelopes()[0].Frame
	hear := func(now time.Time) (known bool) {
		if err := b.Receive(now, frame); err != nil {
			t.Fatal(err)
		}
		_, known = b.Heartbeat(now, "late")
		return known
	}
	if hear(t0) || len(b.leases) != MaxWorkers {
		t.Errorf("%d leases are noted", len(b.leases))
	}
	b.SetView(t0, []Peer{carol, both[1]})
	if !hear(t0.Add(5*time.Second)) || len(b.leases) != 1 {
		t.Errorf("%d leases are kept when their host has left", len(b.leases))
	}
}

func TestWhatNoMemberSaysIsNotBelieved(t *testing.T) {
	stranger, b := newMachine(clock.Actor{Birth: 9, Rand: 9}, nil), newMachine(bob, nil)
	_ = stranger.Host(t0, "spy", time.Minute)
	stranger.Tick(t0)
	for _, e := range stranger.Envelopes() {
		if err := b.Receive(t0, e.Frame); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.leases) != 0 {
		t.Error("a stranger's worker is noted")
	}
}

// A section of an unknown kind is skipped, and the sections after it are read.
func TestABeatIsSkippedByWhoDoesNotKnowIt(t *testing.T) {
	for _, kind := range []uint64{secBeats + 7, 63, 128} {
		a, b := newMachine(ann, nil), newMachine(bob, nil)
		w := a.begin()
		w.section(kind, 2)
		w.body = wire.AppendStr(w.body, "worker-1")
		w.uint(30_000)
		w.section(secBeats, 2)
		w.body = wire.AppendStr(w.body, "worker-2")
		w.uint(30_000)
		if err := b.Receive(t0, a.finish(w, 0, false)); err != nil {
			t.Errorf("kind %d: %v", kind, err)
		}
		if _, ok := b.Heartbeat(t0, "worker-2"); !ok {
			t.Errorf("kind %d: what stood behind it was not read", kind)
		}
	}
}

// A thousand workers that beat every five seconds cost a peer less than 20 KB/s, sent
// and received together, however many peers host them.
func TestAThousandWorkersCostLittle(t *testing.T) {
	const workers, seconds = 1000, 10
	for _, n := range []int{2, 3, 10, 50, 1000} {
		list := cluster(n)
		now := t0
		for i := range workers {
			if err := list[i%n].Host(now, fmt.Sprintf("worker-%04d", i), 30*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		// The test counts what the first peer sends, and what up to 19 others send to it. From
		// these it estimates what all others send.
		asked := list[:min(n, 20)]
		for range 5*20 + 1 { // the first announcements of new workers do not count
			for _, m := range asked {
				m.Tick(now)
				m.Envelopes()
			}
			now = now.Add(50 * time.Millisecond)
		}
		sent, received, packets := 0, 0, 0
		for range seconds * 20 {
			for i, m := range asked {
				m.Tick(now)
				for _, e := range m.Envelopes() {
					if i == 0 {
						sent += len(e.Frame)
						packets++
					} else if e.To == list[0].cfg.Self {
						received += len(e.Frame)
					}
				}
			}
			now = now.Add(50 * time.Millisecond)
		}
		received = received * (n - 1) / (len(asked) - 1)
		t.Logf("%4d peers: %5.2f KB/s sent in %4.1f frames/s, %5.2f KB/s received", n, float64(sent)/1000/seconds, float64(packets)/seconds, float64(received)/1000/seconds)
		if cost := (sent + received) / seconds; cost > 20_000 || sent == 0 || received == 0 {
			t.Errorf("%d peers: %d B/s, want at most 20,000", n, cost)
		}
	}
}
