package queue

import (
	"math/bits"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

var t0 = time.UnixMilli(1_700_000_000_000)

// known returns an index of n0 that has the items x, y, … in this order.
func known(items ...string) *Index {
	x := New(Config{Name: "q", Self: "n0", Alive: func(string) bool { return true }, MaxItems: 100, MaxAttempts: 3, Retention: time.Hour})
	for i, id := range items {
		x.item(t0, id, true, itemHead{}, clock.Timestamp(i+1))
	}
	return x
}

// depth is the number of items in each state.
type depth struct{ Pending, Delayed, Claimed, Done, Dead int }

func depthOf(x *Index, now time.Time) depth {
	n := x.Counts(now)
	return depth{n[Pending], n[Delayed], n[Claimed], n[Done], n[Dead]}
}

func wantDepth(t *testing.T, x *Index, now time.Time, want depth) {
	t.Helper()
	if d := depthOf(x, now); d != want {
		t.Errorf("depth %+v, want %+v", d, want)
	}
}

// take claims one item, from the try to the begin of its work.
func take(t *testing.T, x *Index, now time.Time, token uint64) *Claim {
	t.Helper()
	list := x.Take(now, 1, nil)
	if len(list) != 1 {
		t.Fatal("nothing to claim")
	}
	x.Granted(list[0], token)
	if _, work := x.Confirmed(now, list[0], time.Second, true); !work {
		t.Fatal("what was confirmed is not claimed")
	}
	x.Begin(now, list[0])
	return list[0]
}

// The records of claims may arrive in any order, and the one with the greatest token counts.
func TestTheGreatestTokenHoldsInAnyOrder(t *testing.T) {
	said := []struct {
		token uint64
		verdict
	}{{3, claimed}, {3, done}, {5, claimed}, {5, failed}}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 1, 3, 0}, {1, 3, 0, 2}, {3, 1, 3, 1}} {
		x := known("x")
		for _, i := range order {
			x.judge(t0, "x", said[i].token, claimHead{State: said[i].verdict.String(), Worker: "n1", TTL: 1000})
		}
		if d := depthOf(x, t0); d != (depth{Pending: 1}) {
			t.Errorf("in the order %v: %+v", order, d)
		}
	}
}

func TestNothingIsClaimedThatWasNotGranted(t *testing.T) {
	x := known("x")
	c := x.Take(t0, 1, nil)[0]
	c.Token = 7 // as if the index had a claim with this token
	if ops, work := x.Confirmed(t0, c, time.Second, true); work || len(ops) > 0 {
		t.Errorf("claimed without a lease: %v", ops)
	}
	if !x.Refused(t0, c, &lockservice.HeldError{Left: time.Second}) {
		t.Error("what is held keeps others from being claimed")
	}
	wantDepth(t, x, t0.Add(raceRetry-1), depth{Delayed: 1})
	wantDepth(t, x, t0.Add(raceRetry), depth{Pending: 1})
}

func TestOnlyTheHolderWhoseLeaseLastsFinishes(t *testing.T) {
	for _, acked := range []bool{true, false} {
		for _, left := range []time.Duration{time.Second, 0} {
			x := known("x")
			c := take(t, x, t0, 7)
			end, ok := x.Complete(t0, c, crdt.Value{})
			if !ok {
				t.Fatal("not finished")
			}
			if _, again := x.Complete(t0, c, crdt.Value{}); again {
				t.Error("finished twice")
			}
			x.Written(t0, end)
			remove, valid := x.Conclude(t0, end, acked, left)
			if want := acked && left > 0; valid != want || (remove.Key != "") != want {
				t.Errorf("acknowledged %t, %v left: valid %t, removes %q", acked, left, valid, remove.Key)
			}
		}
	}
}

// A claim whose ending the full store refused goes on and can end in another way, unless its
// lease is over.
func TestAClaimGoesOnWhoseEndingHadNoRoom(t *testing.T) {
	x := known("x")
	c := take(t, x, t0, 7)
	for range 2 {
		end, ok := x.Complete(t0, c, crdt.Value{})
		if !ok || !end.Unwritten() {
			t.Fatal("the claim is over")
		}
	}
	end, ok := x.Complete(t0, c, crdt.Value{})
	if !ok {
		t.Fatal("not finished")
	}
	x.Written(t0, end)
	if _, valid := x.Conclude(t0, end, true, time.Second); !valid {
		t.Error("the ending that had room is not valid")
	}
	if end.Unwritten() {
		t.Error("a claim that is over goes on")
	}
}

// A peer that finds that an item was tried too often writes that it is dead, and counts it.
func TestAnItemThatWasGivenUpCountsAsDead(t *testing.T) {
	x := known("x")
	for token := uint64(7); token < 7+3; token++ {
		end, ok := x.Lost(t0, take(t, x, t0, token))
		if !ok {
			t.Fatal("not lost")
		}
		x.Written(t0, end)
	}
	for i, written := range []bool{false, true} {
		now := t0.Add(time.Duration(i) * raceRetry)
		c := x.Take(now, 1, nil)[0]
		x.Granted(c, uint64(10+i))
		if ops, work := x.Confirmed(now, c, time.Second, true); work || len(ops) != 1 {
			t.Errorf("%v, %t: want the word that it is dead", ops, work)
		}
		want := depth{Delayed: 1}
		if written {
			x.Begin(now, c)
			want = depth{Dead: 1}
		}
		x.GiveUp(now, c)
		wantDepth(t, x, now, want)
		if n := x.Counters.Dead; n != uint64(want.Dead) {
			t.Errorf("written %t: %d dead are counted", written, n)
		}
	}
}

// A claim whose record could not be written counts as no attempt, and no peer has the item.
func TestAClaimThatIsNotWrittenDidNotHappen(t *testing.T) {
	x := known("x")
	c := x.Take(t0, 1, nil)[0]
	x.Granted(c, 7)
	if _, work := x.Confirmed(t0, c, time.Second, true); !work {
		t.Fatal("what was confirmed is not claimed")
	}
	x.GiveUp(t0, c)
	now := t0.Add(raceRetry)
	if v, _ := x.Look(now, "x"); v.State != Pending || v.Attempt != 0 || v.Worker != "" || v.Token != 0 || x.Counters.Claimed != 0 {
		t.Errorf("%+v, %d claimed", v, x.Counters.Claimed)
	}
	if c := take(t, x, now, 8); c.Attempt != 1 {
		t.Errorf("attempt %d", c.Attempt)
	}
}

func TestALostClaimIsPendingAgainAndHasCounted(t *testing.T) {
	x := known("x")
	c := take(t, x, t0, 7)
	wantDepth(t, x, t0, depth{Claimed: 1})
	end, ok := x.Lost(t0, c)
	if !ok {
		t.Fatal("not lost")
	}
	x.Written(t0, end)
	wantDepth(t, x, t0, depth{Pending: 1})
	if _, ok := x.Complete(t0, c, crdt.Value{}); ok {
		t.Error("completed although it was lost")
	}
	if again := take(t, x, t0, 8); again.Attempt != 2 {
		t.Errorf("attempt %d", again.Attempt)
	}
}

// The record of a claim may be deleted here before the record of the next claim arrives.
func TestAttemptsDoNotFallWhenARecordGoes(t *testing.T) {
	x := known("x")
	x.judge(t0, "x", 7, claimHead{State: "claimed", Worker: "n1", Attempt: 2, TTL: 1000})
	x.unjudge(t0, "x", 7, false)
	if c := take(t, x, t0, 9); c.Attempt != 3 {
		t.Errorf("attempt %d", c.Attempt)
	}
}

// A worker that was cut off finishes too late. The next claim has deleted the worker's record
// and failed, and its own record arrives here only later.
func TestAnItemOutlivesACompletionThatWasOverruled(t *testing.T) {
	for _, expired := range []bool{false, true} {
		x := known("x")
		x.judge(t0, "x", 7, claimHead{State: "done", Worker: "n0", Attempt: 1})
		x.unjudge(t0, "x", 7, expired)
		if removed := len(x.Stale(10)) > 0; removed != expired {
			t.Errorf("its record is gone, expired %t: removes the item %t", expired, removed)
		}
	}
}

func TestAVoterBarsWhatWasSaidUnderAnotherToken(t *testing.T) {
	for v, bars := range map[verdict]bool{claimed: false, failed: true, dead: true, requeued: false, done: true} {
		x := known("x")
		x.judge(t0, "x", 7, claimHead{State: v.String(), Worker: "n1", NotBefore: t0.Add(time.Second).UnixMilli()})
		if x.Bars(t0, "x", 7) || x.Bars(t0, "y", 8) || x.Bars(t0, "x", 8) != bars {
			t.Errorf("%v: bars %t %t %t", v, x.Bars(t0, "x", 7), x.Bars(t0, "y", 8), x.Bars(t0, "x", 8))
		}
		if later := t0.Add(2 * time.Second); x.Bars(later, "x", 8) != (v == done || v == dead) {
			t.Errorf("%v, when it is due: bars %t", v, x.Bars(later, "x", 8))
		}
	}
}

func TestAMajorityOfVotersAcknowledges(t *testing.T) {
	f := func(want bool, self string, by ...string) {
		t.Helper()
		if Acknowledged([]string{"n0", "n1", "n2"}, self, by) != want {
			t.Errorf("of %s, acknowledged by %v: %t", self, by, !want)
		}
	}
	f(false, "n0")
	f(true, "n0", "n1")
	f(false, "n0", "n0", "n3")
	f(false, "n3", "n1")
	f(true, "n3", "n1", "n2")
	if !Acknowledged(nil, "n0", nil) {
		t.Error("who is alone does not decide")
	}
}

// Any majority and the voters with which a voter has synced share a voter other than itself.
func TestAVoterRecoversFromOneOfEveryMajority(t *testing.T) {
	all := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6"}
	for n := 2; n <= len(all); n++ {
		voters := all[:n]
		for set := range 1 << n {
			var heard []string
			for i, v := range voters {
				if set>>i&1 == 1 {
					heard = append(heard, v)
				}
			}
			missed := false // whether some majority with n0 includes none of them
			for majority := range 1 << n {
				missed = missed || majority&1 == 1 && bits.OnesCount(uint(majority)) > n/2 && majority&set&^1 == 0
			}
			if Recovered(voters, "n0", heard, false) == missed {
				t.Errorf("of %d voters n0 has heard from %v: recovered %t", n, heard, !missed)
			}
		}
	}
	if !Recovered(all[:1], "n0", nil, false) || Recovered(all, "n0", nil, true) || !Recovered(all, "n0", []string{"x"}, true) {
		t.Error("a single voter, or one that starts for the first time")
	}
}

func TestWhoWaitsIsToldOnceAndInOrder(t *testing.T) {
	x := known()
	first, second := x.Wait(t0), x.Wait(t0)
	if _, ok := x.Next(); len(x.Woken()) > 0 || ok {
		t.Error("told of nothing")
	}
	x.item(t0, "x", true, itemHead{}, 1)
	if w := x.Woken(); len(w) != 1 || w[0] != first {
		t.Errorf("told %v, want %d", w, first)
	}
	x.Leave(first) // the caller was woken and leaves without looking
	if w := x.Woken(); len(w) != 1 || w[0] != second {
		t.Errorf("told %v, want %d", w, second)
	}
	x.item(t0, "x", false, itemHead{}, 2)
	x.Wait(t0)
	x.item(t0, "y", true, itemHead{NotBefore: t0.Add(time.Minute).UnixMilli()}, 3)
	at, ok := x.Next()
	if !ok || !at.Equal(t0.Add(time.Minute)) {
		t.Errorf("next at %v, %t", at, ok)
	}
	x.Tick(at)
	if w := x.Woken(); len(w) != 1 {
		t.Errorf("told %v", w)
	}
}

func TestAnIDIsTakenWhileItsResultIsKept(t *testing.T) {
	x := known("x")
	c := take(t, x, t0, 7)
	end, _ := x.Complete(t0, c, crdt.Value{})
	x.Written(t0, end)
	x.Conclude(t0, end, true, time.Second)
	x.item(t0, "x", false, itemHead{}, clock.TimestampAt(t0)) // removed
	if !x.Known("x") {
		t.Error("free at once")
	}
	if v, ok := x.Look(t0, "x"); !ok || !v.Enqueued.Equal(clock.Timestamp(1).Time()) {
		t.Errorf("what is done was enqueued at %v", v.Enqueued)
	}
	x.unjudge(t0, "x", 7, true)
	if x.Known("x") || len(x.entries) > 0 {
		t.Error("taken for ever")
	}
}

func TestABackOffIsDrawnFromTheSeed(t *testing.T) {
	drawn := func(seed uint64) (list []time.Duration) {
		x := New(Config{Name: "q", Seed: seed})
		for attempt := range 20 {
			d := backOff(attempt, x.rng)
			if most := min(time.Second<<max(attempt-1, 0), 5*time.Minute); d < most/2 || d > most {
				t.Errorf("attempt %d: %v", attempt, d)
			}
			list = append(list, d)
		}
		return list
	}
	a, b, c := drawn(1), drawn(1), drawn(2)
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("one seed draws two back-offs")
		}
		if a[i] == c[i] {
			same++
		}
	}
	if same > 2 {
		t.Error("two seeds draw alike")
	}
}

func TestASurveyShowsTheOldestOfWhatNeedsALook(t *testing.T) {
	x := known("a", "b", "c", "d", "e", "f")
	if held, lost, oldest := x.Survey(t0, 10); len(held)+len(lost) > 0 || !oldest.Equal(clock.Timestamp(1).Time()) {
		t.Errorf("%v, %v, %v", held, lost, oldest)
	}
	for id, v := range map[string]verdict{"a": claimed, "c": claimed, "d": claimed, "e": dead, "b": done} {
		x.judge(t0, id, 7, claimHead{State: v.String(), Worker: "n1", TTL: 60_000, Attempt: 2, Error: "broken"})
	}
	held, lost, oldest := x.Survey(t0, 2)
	if len(held) != 2 || held[0].ID != "a" || held[1].ID != "c" || held[0].Worker != "n1" || held[0].Attempt != 2 {
		t.Errorf("claimed: %+v", held)
	}
	if len(lost) != 1 || lost[0].ID != "e" || lost[0].Error != "broken" || !oldest.Equal(clock.Timestamp(6).Time()) {
		t.Errorf("dead: %+v, and %v", lost, oldest)
	}
}
