package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// bubble runs f with a network in memory and in virtual time. At the end it waits for the last timers of
// memberlist.
func bubble(t *testing.T, f func(t *testing.T, n *memnet.Network)) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 11
		t.Logf("memnet seed %d", seed)
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last; the time is virtual
		f(t, memnet.New(seed))
	})
}

func address(i int) string { return fmt.Sprintf("10.0.%d.%d:7946", i/200, i%200+1) }

// virtual starts peer number i in the bubble.
func virtual(t *testing.T, n *memnet.Network, i int, tune func(*Config)) *Agent {
	t.Helper()
	l, err := n.Listen(address(i))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Name: fmt.Sprintf("n%d", i), Bind: address(i), Network: l, Seeds: []string{address(0)},
		Keys: [][]byte{[]byte("0123456789abcdef0123456789abcdef")},
	}
	if tune != nil {
		tune(&cfg)
	}
	return open(t, cfg)
}

func several(t *testing.T, n *memnet.Network, count int, tune func(*Config)) []*Agent {
	t.Helper()
	var list []*Agent
	for i := range count {
		list = append(list, virtual(t, n, i, tune))
	}
	time.Sleep(10 * time.Second)
	return list
}

// agreed fails unless all peers have the same state. It returns the number of keys.
func agreed(t *testing.T, list []*Agent) int {
	t.Helper()
	hash, keys := list[0].Digest()
	for _, a := range list[1:] {
		if h, k := a.Digest(); h != hash || k != keys {
			t.Errorf("%s: %d keys, digest %s; %s: %d keys, %s", list[0].Name(), keys, hash, a.Name(), k, h)
		}
	}
	return keys
}

func TestACutOfAMinuteHealsAndBothSidesWritesSurvive(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 4, nil)
		n.Split([]string{address(0), address(1)}, []string{address(2), address(3)})
		for i := range 60 {
			for _, a := range list {
				if err := a.Put(t.Context(), fmt.Sprintf("%s/%d", a.Name(), i), i); err != nil {
					t.Fatal(err)
				}
			}
			if err := list[i%4].Put(t.Context(), "contested", list[i%4].Name()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := errors.Join(list[0].Put(t.Context(), "typed", []any{"a"}, WithKind(crdt.Set)),
			list[2].Object("typed").Replace(t.Context(), map[string]any{"b": 1})); err != nil {
			t.Fatal(err)
		}
		if alive(list[0]) != 2 {
			t.Errorf("%d peers are alive for n0 while it is cut off with one", alive(list[0]))
		}
		n.Heal()
		time.Sleep(30 * time.Second)
		if keys := agreed(t, list); keys != 4*60+2 {
			t.Errorf("%d keys, want %d", keys, 4*60+2)
		}
		for _, a := range list {
			shown, _ := a.Get("typed")
			if others := a.Alternatives("typed"); len(others) != 1 || shown.IsZero() {
				t.Errorf("%s: of a set and an object put at the same moment %v is read, and %v beside it", a.Name(), shown, others)
			}
			if a.Vector("typed").Compare(list[0].Vector("typed")) != clock.Equal {
				t.Errorf("%s: another version vector", a.Name())
			}
		}
		var conflicts uint64
		for _, a := range list {
			conflicts += a.Stats().Conflicts
		}
		if conflicts == 0 {
			t.Error("nobody noticed the conflict")
		}
	})
}

func TestAThirdOfThePacketsLostNoWriteIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.SetDelay(time.Millisecond, 10*time.Millisecond)
		list := several(t, n, 5, func(c *Config) { c.BatchInterval = AtOnce })
		n.SetLoss(0.3)
		n.SetDuplicate(0.1)
		n.SetReorder(0.2)
		for i := range 300 {
			if err := list[i%5].Put(t.Context(), fmt.Sprintf("k/%d", i), strings.Repeat("v", 200)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if keys := agreed(t, list); keys != 300 {
			t.Errorf("%d of 300 keys", keys)
		}
	})
}

func TestAStormOfJoinsFillsEveryPeer(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		first := virtual(t, n, 0, nil)
		for i := range 2000 {
			if err := first.Put(t.Context(), fmt.Sprintf("k/%d", i), strings.Repeat("v", 500)); err != nil {
				t.Fatal(err)
			}
		}
		list := []*Agent{first}
		for i := 1; i < 25; i++ {
			list = append(list, virtual(t, n, i, nil))
		}
		time.Sleep(30 * time.Second)
		if keys := agreed(t, list); keys != 2000 {
			t.Errorf("%d of 2000 keys", keys)
		}
		for _, a := range list {
			if !a.Ready() {
				t.Errorf("%s is not ready", a.Name())
			}
		}
	})
}

func TestAValueOfTheGreatestSizeArrives(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		if err := list[0].Put(t.Context(), "big", strings.Repeat("x", wire.MaxValueBytes-5)); err != nil {
			t.Fatal(err)
		}
		var bad *wire.ValueError
		if err := list[0].Put(t.Context(), "too-big", strings.Repeat("x", wire.MaxValueBytes)); !errors.As(err, &bad) {
			t.Errorf("a value too large: %v", err)
		}
		if err := list[0].WaitReplicated(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if keys := agreed(t, list); keys != 1 {
			t.Errorf("%d keys", keys)
		}
	})
}

// A subscriber that does not read gets a lagged event and then the current state.
func TestASlowSubscriberLagsAndCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 2, nil)
		sub, err := list[1].Watch(t.Context(), "k/*", Buffer(10))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := list[0].Put(t.Context(), fmt.Sprintf("k/%d", i%50), i); err != nil {
				t.Fatal(err)
			}
			if i%20 == 0 {
				time.Sleep(200 * time.Millisecond)
			}
		}
		time.Sleep(5 * time.Second)
		state := map[string]string{}
		lagged := 0
		for done := false; !done; {
			e := next(t, sub)
			switch e.Cause {
			case CauseLagged:
				lagged++
			case CauseSynced:
				done = lagged > 0
			default:
				state[e.Key] = e.New.String()
			}
		}
		if lagged == 0 || sub.Missed() == 0 {
			t.Error("nothing was missed: the test is too tame")
		}
		for i := 950; i < 1000; i++ {
			if k := fmt.Sprintf("k/%d", i%50); state[k] != fmt.Sprint(i) {
				t.Errorf("%s is %s, want %d", k, state[k], i)
			}
		}
	})
}

func TestASubscriptionResumesWhereItStopped(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		ctx, stop := context.WithCancel(t.Context())
		sub, err := a.Watch(ctx, "**")
		if err != nil {
			t.Fatal(err)
		}
		put := func(key string) {
			t.Helper()
			if err := a.Put(t.Context(), key, 1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put("first")
		cursor := next(t, sub).Cursor
		stop()
		put("second")
		put("third")
		parsed, err := ParseCursor(cursor.String())
		if err != nil || parsed != cursor {
			t.Fatalf("cursor %v became %v: %v", cursor, parsed, err)
		}
		sub, err = a.Watch(t.Context(), "**", FromCursor(cursor))
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, sub); e.Key != "second" {
			t.Errorf("resumed with %q", e.Key)
		}
		if e := next(t, sub); e.Key != "third" {
			t.Errorf("then %q", e.Key)
		}
		foreign := Cursor{epoch: newActor(time.Now()), seq: 1}
		sub, err = a.Watch(t.Context(), "**", FromCursor(foreign))
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, sub); e.Cause != CauseLagged {
			t.Errorf("a cursor of another life resumed with %v", e.Cause)
		}
	})
}

// A peer that restarts under its old name starts without data and gets the whole state. Removals that
// waited for its earlier run are collected.
func TestAPeerThatRestartsUnderItsNameFillsUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		for i := range 100 {
			if err := list[2].Put(t.Context(), fmt.Sprintf("k/%d", i), i); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		list[2].stop() // a crash: the other peers get no notice
		list[2].net.Close()
		for i := range 50 {
			if err := list[0].Delete(t.Context(), fmt.Sprintf("k/%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if s := list[0].Stats(); s.Store.Removals != 50 || len(s.Blocking) != 1 || s.Blocking[0] != "n2" {
			t.Errorf("%d removals wait for %v, want 50 for n2", s.Store.Removals, s.Blocking)
		}
		again := virtual(t, n, 3, func(c *Config) { c.Name = "n2" })
		time.Sleep(time.Minute)
		if keys := agreed(t, []*Agent{list[0], list[1], again}); keys != 50 {
			t.Errorf("%d keys, want 50", keys)
		}
		if got := list[0].Stats().Store.Removals; got != 0 {
			t.Errorf("%d removals are still kept", got)
		}
	})
}

func TestTwoPeersWithOneNameAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, func(c *Config) {
			if c.Name == "n2" {
				c.Name = "n1"
			}
		})
		time.Sleep(5 * time.Second)
		found := false
		for _, m := range list[0].Members() {
			for _, p := range m.Problems {
				found = found || p == "duplicate name"
			}
		}
		if !found || list[0].Stats().Problems["duplicate name"] != 1 {
			t.Errorf("members do not name it: %+v", list[0].Members())
		}
	})
}

func TestRulesThatDifferAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 2, func(c *Config) {
			if c.Name == "n1" {
				c.Rules = []crdt.Rule{{Pattern: "tags/**", Kind: crdt.Set}}
			}
		})
		time.Sleep(5 * time.Second)
		if list[0].Stats().Problems["rules differ"] != 1 {
			t.Errorf("not named: %+v", list[0].Members())
		}
	})
}

func TestAMemberAgreesOnceItsStateWasSeenToBeEqual(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 2, nil)
		other := func() Member { return list[0].Members()[1] }
		if m := other(); !m.Agrees || m.AgreedAt.IsZero() {
			t.Errorf("at rest: %+v", m)
		}
		n.Split([]string{address(0)}, []string{address(1)})
		before := other().AgreedAt
		if err := list[0].Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		if m := other(); m.Agrees || m.AgreedAt != before {
			t.Errorf("cut, after a write: %+v", m)
		}
		n.Heal()
		time.Sleep(30 * time.Second)
		if m := other(); !m.Agrees || !m.AgreedAt.After(before) {
			t.Errorf("healed: %+v", m)
		}
	})
}

func TestWaitReplicatedSaysWhoIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 3, nil)
		n.Split([]string{address(0), address(1)}, []string{address(2)})
		if err := list[0].Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		if err := list[0].WaitReplicated(t.Context(), 1); err != nil {
			t.Errorf("one of two: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var short *ReplicationError
		if err := list[0].WaitReplicated(ctx, 2); !errors.As(err, &short) || short.Have != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("two of two: %v", err)
		}
		n.Heal()
		if err := list[0].WaitReplicated(t.Context(), 2); err != nil {
			t.Errorf("after healing: %v", err)
		}
	})
}

// Writes wait while the loop cannot keep up, and fail when their context ends.
func TestWritesWaitForTheLoop(t *testing.T) {
	a := open(t, Config{Name: "n1", MaxBacklog: 1000})
	a.watch.mu.Lock() // so that the loop cannot publish
	var err error
	for i := 0; err == nil && i < 100; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err = a.Put(ctx, "k", i)
		cancel()
	}
	a.watch.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := a.Put(t.Context(), "k", 1); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Frames that do not fit into a peer's window are sent as soon as there is room, not when the next timer
// fires.
func TestABurstBeyondTheWindowDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		list := several(t, n, 2, func(c *Config) { c.BatchInterval = AtOnce })
		noise := rand.New(rand.NewPCG(11, 1))
		began := time.Now()
		err := list[0].Update(t.Context(), func(tx *Tx) error {
			for i := range 28 { // 7 MB
				value := make([]byte, 250<<10)
				for j := range value {
					value[j] = byte(noise.Uint32()) // random bytes do not compress
				}
				tx.Put(fmt.Sprint("burst/", i), value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for time.Since(began) < time.Second && keysOf(list[1]) < keysOf(list[0]) {
			time.Sleep(100 * time.Microsecond)
		}
		if took := time.Since(began); took > 2*time.Millisecond {
			t.Errorf("7 MB took %v on a network without delay", took)
		}
	})
}

func keysOf(a *Agent) int {
	_, n := a.Digest()
	return n
}
