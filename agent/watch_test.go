package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

func TestACursorIsGoodBeforeAnybodyListened(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		put := func(key string) {
			t.Helper()
			if err := a.Put(t.Context(), key, 1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put("k") // there is no subscription yet, and no history
		first := func(seq uint64) Event {
			t.Helper()
			sub, err := a.Watch(t.Context(), "**", FromCursor(Cursor{a.Actor(), seq}))
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			put("next")
			return next(t, sub)
		}
		if e := first(0); e.Cause != CauseLagged {
			t.Errorf("resumed before what was not kept: %v", e.Cause)
		}
		for _, seq := range []uint64{1 << 63, ^uint64(0)} {
			if e := first(seq); e.Cause != CauseLagged {
				t.Errorf("resumed at %d: %v", seq, e.Cause)
			}
		}
		if e := first(a.Cursor().seq); e.Key != "next" {
			t.Errorf("resumed where nothing was missed: %v %q", e.Cause, e.Key)
		}
	})
}

func TestTheCursorOfNowIsGoodThoughNobodyListens(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		now := a.Cursor()
		if err := a.Put(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sub, err := a.Watch(t.Context(), "**", FromCursor(now))
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, sub); e.Key != "k" {
			t.Errorf("resumed with %v %q", e.Cause, e.Key)
		}
	})
}

// The cursor of a subscription tells whether every event was received, and advances while no event comes.
func TestAQuietSubscriptionKeepsItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, func(c *Config) { c.History = 4 })
		put := func(key string) {
			t.Helper()
			if err := a.Put(t.Context(), key, 1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		sub, err := a.Watch(t.Context(), "mine")
		if err != nil {
			t.Fatal(err)
		}
		at := func(complete bool) Cursor {
			t.Helper()
			c, ok := sub.Cursor()
			if ok != complete {
				t.Errorf("all was received: %t; want %t", ok, complete)
			}
			return c
		}
		at(true)       // right after the start
		for range 10 { // more events than the history keeps
			put("other")
		}
		c := at(true)
		put("mine")
		at(false)
		if e := next(t, sub); e.Key != "mine" {
			t.Errorf("got %v %q", e.Cause, e.Key)
		}
		synctest.Wait()
		at(true)
		sub.Close()
		synctest.Wait()
		at(false)

		if sub, err = a.Watch(t.Context(), "mine", FromCursor(c)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		at(false) // the resumed event was not received yet
		if e := next(t, sub); e.Key != "mine" {
			t.Errorf("resumed with %v %q", e.Cause, e.Key)
		}
		synctest.Wait()
		at(true)
		sub.Close()
		if sub, err = a.Watch(t.Context(), "mine", FromCursor(a.Cursor())); err != nil {
			t.Fatal(err)
		}
		at(true) // the history has no later event
		sub.Close()
		if sub, err = a.Watch(t.Context(), "mine", WithSnapshot()); err != nil {
			t.Fatal(err)
		}
		at(false)
		synctest.Wait()
		at(false)
		next(t, sub)
		synctest.Wait()
		at(false)
		next(t, sub)
		synctest.Wait()
		at(true)

		if sub, err = a.Watch(t.Context(), "mine", FromCursor(Cursor{a.Actor(), 0})); err != nil { // the events after this cursor are not kept
			t.Fatal(err)
		}
		synctest.Wait()
		at(false)
		sub = &Subscription{a: a, wake: make(chan struct{}, 1), idle: true} // a subscription that has not delivered anything
		sub.offer(Event{})
		at(false)
	})
}

// No text that a client sends as a cursor stops the peer.
func FuzzWatchFromCursor(f *testing.F) {
	a, err := Open(f.Context(), Config{Name: "n1", Cluster: "test", History: 4, HeartbeatInterval: Manual})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { a.Close(context.Background()) })
	own := a.Actor().String()
	for _, text := range []string{own + ".0", own + ".1", own + ".18446744073709551615", own + ".", ".1", "", "x.y", own} {
		f.Add(text, uint64(0))
		f.Add(text, ^uint64(0))
	}
	f.Fuzz(func(t *testing.T, text string, seq uint64) {
		cursors := []Cursor{{a.Actor(), seq}}
		if c, err := ParseCursor(text); err == nil {
			cursors = append(cursors, c)
		}
		for _, c := range cursors {
			a.Delete(t.Context(), "k")
			sub, err := a.Watch(t.Context(), "**", FromCursor(c))
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Put(t.Context(), "k", 1); err != nil {
				t.Fatal(err)
			}
			<-sub.C()
			sub.Close()
		}
		a.Stats() // takes the mutex that publishing takes, and so shows that it is free
	})
}

// A subscriber that stops in the middle of a snapshot and resumes from the last cursor that it got, if
// any, has every key in the end.
func TestASnapshotBrokenOffIsToldAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		for i := range 10 {
			if err := a.Put(t.Context(), fmt.Sprintf("k%d", i), i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cursor := Cursor{a.Actor(), 1 << 40} // a cursor that makes the subscription start over
		read := func(limit int) (seen map[string]int) {
			t.Helper()
			sub, err := a.Watch(t.Context(), "**", WithSnapshot(), FromCursor(cursor))
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			seen = make(map[string]int)
			for range limit {
				e := next(t, sub)
				if e.Cause == CauseSnapshot {
					seen[e.Key]++
				}
				if (e.Cause == CauseSnapshot || e.Cause == CauseLagged) && !e.Cursor.IsZero() {
					t.Errorf("%s has a cursor before the snapshot is complete", e.Cause)
				}
				if !e.Cursor.IsZero() {
					cursor = e.Cursor
				}
			}
			return seen
		}
		if seen := read(4); len(seen) != 3 {
			t.Fatalf("got %v, want lagged and three keys", seen)
		}
		if seen := read(12); len(seen) != 10 {
			t.Errorf("after it was told again, the reader knows %v", seen)
		}
		if err := a.Put(t.Context(), "more", 1); err != nil {
			t.Fatal(err)
		}
		if seen := read(1); len(seen) != 0 {
			t.Errorf("resumed after synced, it was told %v again", seen)
		}
	})
}

// A resolver is code of the user. It may call the agent even while the event of its result is published.
func TestAResolverMayAskTheAgent(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		var a *Agent
		resolve := func(siblings []crdt.Sibling) (crdt.Value, error) {
			if a != nil && a.Stats().Subscriptions > 0 {
				sub, err := a.Watch(t.Context(), "other")
				if err != nil {
					return crdt.Value{}, err
				}
				sub.Close()
			}
			return siblings[0].Value, nil
		}
		list := several(t, n, 2, func(c *Config) {
			c.Rules = []crdt.Rule{{Pattern: "mine/*", Kind: crdt.Custom, Resolver: "first"}}
			c.Resolvers = map[string]crdt.Resolver{"first": resolve}
		})
		sub, err := list[1].Watch(t.Context(), "mine/*")
		if err != nil {
			t.Fatal(err)
		}
		a = list[1]
		n.Split([]string{address(0)}, []string{address(1)})
		for _, p := range list {
			if err := p.Put(t.Context(), "mine/k", p.Name()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		n.Heal()
		for {
			if e := next(t, sub); e.Cause == CausePut && e.Writer == "n0" {
				break
			}
		}
	})
}

func TestASlowSubscriberIsBoundInBytes(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		sub, err := a.Watch(t.Context(), "**", Buffer(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("v", 1<<20-64)
		most := 0
		for i := range 40 {
			if err := a.Put(t.Context(), fmt.Sprintf("k%d", i), big); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			sub.mu.Lock()
			_, bytes := sub.queue.Waiting()
			sub.mu.Unlock()
			most = max(most, bytes)
		}
		if most > subscriptionBytes || most < subscriptionBytes*3/4 {
			t.Errorf("up to %d bytes waited, %d are allowed", most, subscriptionBytes)
		}
		causes := make(map[Cause]int)
		for causes[CauseSynced] == 0 {
			causes[next(t, sub).Cause]++
		}
		if want := map[Cause]int{CausePut: 1, CauseLagged: 1, CauseSnapshot: 40, CauseSynced: 1}; !maps.Equal(causes, want) {
			t.Errorf("it heard %v, want %v", causes, want)
		}
	})
}

func TestAHistoryIsBoundInEventsAndBytes(t *testing.T) {
	all := func(string) bool { return true }
	h := history{limit: 100}
	h.add(Event{Key: "before"})
	h.start()
	check := func(want int) {
		t.Helper()
		kept, ok := h.since(h.first-1, all)
		bytes := 0
		for i, e := range kept {
			bytes += e.size()
			if e.Key != fmt.Sprint(h.first+uint64(i)) {
				t.Errorf("event %d is %q", h.first+uint64(i), e.Key)
			}
		}
		if !ok || len(kept) != want || bytes != h.bytes || bytes > historyBytes {
			t.Errorf("%d events of %d bytes, want %d; it counts %d", len(kept), bytes, want, h.bytes)
		}
		if _, ok := h.since(h.first-2, all); ok {
			t.Error("what it has not got, it says it has")
		}
	}
	check(0)
	for range 250 {
		h.add(Event{Key: fmt.Sprint(h.last + 1)})
	}
	check(100)
	v, err := crdt.ValueOf(strings.Repeat("v", 1<<20-64))
	if err != nil {
		t.Fatal(err)
	}
	for range 250 {
		h.add(Event{Key: fmt.Sprint(h.last + 1), New: v})
	}
	check(16)
	for range 250 {
		h.add(Event{Key: fmt.Sprint(h.last + 1)})
	}
	check(100)
}

// A write that succeeded is at the other peers after an orderly stop. Writes after the start of the stop
// are refused.
func TestCloseHandsOverWhatWasAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		n.SetDelay(20*time.Millisecond, 20*time.Millisecond)
		list := several(t, n, 2, func(c *Config) { c.BatchInterval = 5 * time.Second })
		a := list[0]
		made, refused := 0, make(chan time.Time)
		go func() {
			for {
				if err := a.Put(context.Background(), fmt.Sprintf("w/%d", made), made); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("write %d: %v", made, err)
					}
					refused <- time.Now()
					return
				}
				made++
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		closed := make(chan error)
		go func() { closed <- a.Close(t.Context()) }()
		if after := (<-refused).Sub(began); after > time.Millisecond {
			t.Errorf("writes are still taken %v after the stop began", after)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if keys, err := list[1].Keys("w/*"); err != nil || len(keys) != made || made == 0 {
			t.Errorf("%d writes were acknowledged, the other peer has %d: %v", made, len(keys), err)
		}
	})
}

// Close returns with an error if a goroutine never ends.
func TestCloseReturnsThoughThePeerHangs(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network) {
		a := virtual(t, n, 0, nil)
		sub, err := a.Watch(t.Context(), "**")
		if err != nil {
			t.Fatal(err)
		}
		a.wg.Add(1) // a goroutine that never ends; a held mutex would stop virtual time
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second+closeGrace {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, open := <-sub.C(); open {
			t.Error("the subscription goes on")
		}
		a.wg.Done()
		if err := a.Close(t.Context()); err != nil {
			t.Errorf("when it no longer hangs: %v", err)
		}
	})
}
