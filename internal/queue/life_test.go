package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// shelf is an index and the keys whose changes it gets.
type shelf struct {
	*Index
	t      *testing.T
	keys   map[string]crdt.Value
	writes clock.Timestamp
}

func newShelf(t *testing.T) *shelf {
	return &shelf{Index: known(), t: t, keys: map[string]crdt.Value{}}
}

// write makes operations, and passes the changes to the index.
func (s *shelf) write(now time.Time, ops ...crdt.Op) {
	s.t.Helper()
	for _, op := range ops {
		s.writes++
		k, ok := ParseKey(op.Key)
		if !ok {
			s.t.Fatalf("%q is no key of a queue", op.Key)
		}
		if s.keys[op.Key] = op.Value; op.Verb == crdt.Delete {
			s.keys[op.Key] = crdt.Value{}
		}
		s.Change(now, k, &crdt.Change{Key: op.Key, New: s.keys[op.Key], Stamp: s.writes})
	}
}

func (s *shelf) add(now time.Time, item Item) {
	s.t.Helper()
	item.Value = valueOf(s.t, item.ID)
	op, _, err := Add(now, "q", item, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(now, op)
}

// ends writes an ending that a majority acknowledges in time.
func (s *shelf) ends(now time.Time, end *Ending, ok bool) {
	s.t.Helper()
	if !ok {
		s.t.Fatal("the claim had ended")
	}
	s.write(now, end.Op)
	s.Written(now, end)
	remove, valid := s.Conclude(now, end, true, time.Second)
	if !valid {
		s.t.Fatal("the ending is not valid")
	}
	if remove.Key != "" {
		s.write(now, remove)
	}
}

func (s *shelf) want(now time.Time, id string, state State, attempt int) {
	s.t.Helper()
	if v, _ := s.Look(now, id); v.State != state || v.Attempt != attempt {
		s.t.Errorf("%s is %q after %d attempts, want %q after %d", id, v.State, v.Attempt, state, attempt)
	}
}

func TestAnItemIsAddedAsItIsAskedFor(t *testing.T) {
	op, id, err := Add(t0, "q", Item{Value: valueOf(t, 1), ID: "x", Delay: time.Second, Priority: 7, MaxAttempts: 2}, 0)
	if err != nil || id != "x" || op.Key != ItemKey("q", "x") || op.If == nil || *op.If != 0 {
		t.Errorf("added %q by %+v, %v", id, op, err)
	}
	if head, ok := readItem(op.Value); !ok || head != (itemHead{7, t0.Add(time.Second).UnixMilli(), 2}) {
		t.Errorf("stored as %+v", head)
	}
	op, id, err = Add(t0, "q", Item{Value: valueOf(t, 1)}, 5)
	if err != nil || op.If != nil || op.Key != ItemKey("q", id) || CheckID(id) != nil {
		t.Errorf("without an id, added %q by %+v, %v", id, op, err)
	}
	if _, later, _ := Add(t0.Add(time.Millisecond), "q", Item{Value: valueOf(t, 1)}, 4); later <= id {
		t.Errorf("the id %q of an item that comes later is not above %q", later, id)
	}
	for want, item := range map[string]Item{
		"delay -1ns":           {Value: valueOf(t, 1), Delay: -1},
		"delay 24h0m0.001s":    {Value: valueOf(t, 1), Delay: MaxDelay + time.Millisecond},
		"-1 attempts":          {Value: valueOf(t, 1), MaxAttempts: -1},
		crdt.ErrAbsent.Error(): {},
		"is no item's name":    {Value: valueOf(t, 1), ID: "a/b"},
	} {
		if _, _, err := Add(t0, "q", item, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v is refused by %v, want %q", item, err, want)
		}
	}
}

func TestAQueueTakesNoMoreThanItHasRoomFor(t *testing.T) {
	s := newShelf(t)
	s.cfg.MaxItems = 3
	for _, id := range []string{"x", "y", "z"} {
		s.add(t0, Item{ID: id})
	}
	if err := s.Admit(1); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a full queue says %v", err)
	}
	c := take(t, s.Index, t0, 7)
	end, ok := s.Complete(t0, c, crdt.Value{})
	s.ends(t0, end, ok)
	if err := s.Admit(1); err != nil {
		t.Errorf("what is done takes room: %v", err)
	}
	if err := s.Admit(2); !errors.Is(err, ErrQueueFull) {
		t.Errorf("two more are taken where one has room: %v", err)
	}
	s.write(t0, crdt.Op{Verb: crdt.Put, Key: SettingKey("q"), Value: valueOf(t, Setting{Draining: true})})
	if err := s.Admit(1); !errors.Is(err, ErrDraining) || !s.Setting().Draining {
		t.Errorf("a queue that is drained says %v", err)
	}
	s.write(t0, crdt.Op{Verb: crdt.Delete, Key: SettingKey("q")})
	if err := s.Admit(1); err != nil {
		t.Errorf("a queue that is not drained any more says %v", err)
	}
}

// A waiting caller is woken when a queue is no longer paused.
func TestAPausedQueueGivesNothing(t *testing.T) {
	s := newShelf(t)
	s.write(t0, crdt.Op{Verb: crdt.Put, Key: SettingKey("q"), Value: valueOf(t, Setting{Paused: true})})
	s.add(t0, Item{ID: "x"})
	turn := s.Wait(t0)
	if len(s.Take(t0, 1, nil)) != 0 || len(s.Woken()) != 0 {
		t.Error("a paused queue gives an item")
	}
	s.Set(Setting{})
	if got := s.Woken(); !slices.Equal(got, []uint64{turn}) {
		t.Errorf("woke %v, want %d", got, turn)
	}
	if len(s.Take(t0, 1, nil)) != 1 {
		t.Error("a queue that goes on gives nothing")
	}
}

func TestAWaiterThatLeavesPassesItsTurnOn(t *testing.T) {
	s := newShelf(t)
	first, second, third := s.Wait(t0), s.Wait(t0), s.Wait(t0)
	s.add(t0, Item{ID: "x"})
	if got := slices.Clone(s.Woken()); !slices.Equal(got, []uint64{first}) {
		t.Fatalf("woke %v, want the first", got)
	}
	s.Leave(first) // the caller was woken and leaves without looking
	if got := slices.Clone(s.Woken()); !slices.Equal(got, []uint64{second}) {
		t.Errorf("then woke %v, want the second", got)
	}
	s.WakeAll(t0)
	if got := slices.Clone(s.Woken()); !slices.Equal(got, []uint64{third}) {
		t.Errorf("at last woke %v, want the third", got)
	}
	s.Take(t0, 1, nil)
	s.Leave(s.Wait(t0)) // the caller was not woken
	if s.WakeAll(t0); len(s.Woken()) != 0 {
		t.Error("woke who had left")
	}
}

// After the refusal of one item the others can still be claimed, unless the lock service
// refuses every call.
func TestARefusalIsOfOneItemOrOfAll(t *testing.T) {
	for _, c := range []struct {
		err    error
		others bool
		wait   time.Duration
	}{
		{&lockservice.HeldError{Left: time.Minute}, true, raceRetry},
		{fmt.Errorf("lock: %w", lockservice.ErrBarred), true, barredRetry},
		{lockservice.ErrTimeout, false, 0},
	} {
		s := newShelf(t)
		s.add(t0, Item{ID: "x"})
		if got := s.Refused(t0, s.Take(t0, 1, nil)[0], c.err); got != c.others {
			t.Errorf("after %v, others may be claimed: %t", c.err, got)
		}
		if c.wait > 0 {
			s.want(t0.Add(c.wait-time.Millisecond), "x", Delayed, 0)
		}
		s.want(t0.Add(c.wait), "x", Pending, 0)
	}
}

// An item that another peer claimed during a try here waits for the end of the other's lease.
func TestARefusalOfAClaimedItemWaitsForItsLease(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x"})
	c := s.Take(t0, 1, nil)[0]
	s.judge(t0, "x", 5, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
	s.Refused(t0, c, &lockservice.HeldError{Left: 3 * time.Second})
	s.want(t0.Add(2*time.Second), "x", Claimed, 0)
	if len(s.Take(t0.Add(2*time.Second), 1, nil)) != 0 {
		t.Error("it was tried while the lease of another lasts")
	}
	s.Wait(t0)
	if len(s.Take(t0.Add(3*time.Second), 1, nil)) != 1 {
		t.Error("it is not tried when the lease is over")
	}
}

// While several peers claim, each one begins with its own share, except for items of a higher
// priority.
func TestWhatIsUrgentComesBeforeOnesOwnShare(t *testing.T) {
	s := newShelf(t)
	s.judge(t0, "other", 1, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
	var own, others string
	for i := 0; own == "" || others == ""; i++ {
		if id := fmt.Sprint(i); shardOf(id)%2 == 0 {
			own = id
		} else {
			others = id
		}
	}
	s.add(t0, Item{ID: others})
	s.add(t0, Item{ID: own})
	s.add(t0, Item{ID: others + others, Priority: 1})
	var order []string
	for _, c := range s.Take(t0, 3, nil) {
		order = append(order, c.ID)
	}
	want := []string{others + others, own, others}
	if !slices.Equal(order, want) {
		t.Errorf("claims in the order %v, want %v", order, want)
	}
}

func TestWhatFailsIsTriedAgainAndThenDead(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x", MaxAttempts: 2})
	c := take(t, s.Index, t0, 1)
	end, ok := s.Fail(t0, c, Failure{Reason: "no luck"})
	if end.State() != Pending {
		t.Errorf("the ending says %q", end.State())
	}
	s.ends(t0, end, ok)
	s.want(t0, "x", Delayed, 1)
	if v, _ := s.Look(t0, "x"); v.Error != "no luck" || v.Worker != "n0" || v.Token != 1 {
		t.Errorf("it is known as %+v", v)
	}
	s.want(t0.Add(retryBase/2-time.Millisecond), "x", Delayed, 1)
	now := t0.Add(retryBase)
	s.want(now, "x", Pending, 1)
	end, ok = s.Fail(now, take(t, s.Index, now, 2), Failure{Reason: "never"})
	if end.State() != Dead {
		t.Errorf("the last ending says %q", end.State())
	}
	s.ends(now, end, ok)
	s.want(now.Add(MaxDelay), "x", Dead, 2)
	if got := s.Counters; got.Failed != 2 || got.Dead != 1 || got.Claimed != 2 {
		t.Errorf("counted %+v", got)
	}
}

func TestAFailureSaysWhenItIsTriedAgain(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{0: 0, -time.Second: 0, time.Minute: time.Minute, MaxDelay + time.Second: MaxDelay} {
		s := newShelf(t)
		s.add(t0, Item{ID: "x"})
		end, ok := s.Fail(t0, take(t, s.Index, t0, 1), Failure{After: &after})
		s.ends(t0, end, ok)
		if want > 0 {
			s.want(t0.Add(want-time.Millisecond), "x", Delayed, 1)
		}
		s.want(t0.Add(want), "x", Pending, 1)
	}
	s := newShelf(t)
	s.add(t0, Item{ID: "x"})
	end, ok := s.Fail(t0, take(t, s.Index, t0, 1), Failure{Dead: true})
	s.ends(t0, end, ok)
	s.want(t0, "x", Dead, 1)
	for attempt, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 40: retryMost} {
		if got := backOff(attempt, s.rng); got < most/2 || got > most {
			t.Errorf("after attempt %d the wait is %v, want %v to %v", attempt, got, most/2, most)
		}
	}
}

// A release does not count as an attempt. The end of a worker or of its lease counts as one.
func TestWhoEndsWithoutAWord(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(*shelf, *Claim) (*Ending, bool)
		attempt int
		text    string
	}{
		"released": {func(s *shelf, c *Claim) (*Ending, bool) { return s.Release(t0, c) }, 0, ""},
		"stopped":  {func(s *shelf, c *Claim) (*Ending, bool) { return s.Stop(t0, c) }, 1, "its worker stopped"},
		"lost":     {func(s *shelf, c *Claim) (*Ending, bool) { return s.Lost(t0, c) }, 1, "its claim was lost"},
	} {
		s := newShelf(t)
		s.add(t0, Item{ID: "x"})
		claim := take(t, s.Index, t0, 1)
		end, ok := c.end(s, claim)
		if !ok {
			t.Fatalf("%s: the claim had ended", name)
		}
		s.write(t0, end.Op)
		s.Conclude(t0, end, true, time.Second)
		s.want(t0, "x", Pending, c.attempt)
		if v, _ := s.Look(t0, "x"); v.Error != c.text {
			t.Errorf("%s: it is told as %q, want %q", name, v.Error, c.text)
		}
		for again, end := range map[string]func() bool{
			"complete": func() bool { _, ok := s.Complete(t0, claim, crdt.Value{}); return ok },
			"fail":     func() bool { _, ok := s.Fail(t0, claim, Failure{}); return ok },
			"release":  func() bool { _, ok := s.Release(t0, claim); return ok },
			"lose":     func() bool { _, ok := s.Lost(t0, claim); return ok },
			"stop":     func() bool { _, ok := s.Stop(t0, claim); return ok },
			"lapse":    func() bool { return s.Lapse(t0, claim) },
		} {
			if end() {
				t.Errorf("%s, it can %s", name, again)
			}
		}
	}
}

// A lease that is over here may go on at another peer. So this peer writes nothing, and the
// item is pending once no record says that it is claimed.
func TestAClaimThatLapsesSaysNothing(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x"})
	c := take(t, s.Index, t0, 1)
	if !s.Lapse(t0, c) || s.Counters.Lapsed != 1 || s.Counters.Lost != 0 {
		t.Error("the claim did not lapse")
	}
	s.want(t0, "x", Pending, 1)
}

// A worker that comes from another peer with its lease continues its claim here, once this peer
// has the claim's record. The same claim is taken over only once.
func TestAClaimIsAdoptedOnceItIsKnown(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x"})
	if s.Adopt(t0, "x", 9) != nil || s.Adopt(t0, "y", 9) != nil {
		t.Error("a claim was adopted that is not known here")
	}
	s.judge(t0, "x", 9, claimHead{State: "claimed", Worker: "n1", TTL: 1000, Attempt: 2})
	c := s.Adopt(t0, "x", 9)
	if c == nil || c.Attempt != 2 || c.Token != 9 {
		t.Fatalf("adopted %+v", c)
	}
	if s.Adopt(t0, "x", 9) != nil {
		t.Error("a claim was adopted twice")
	}
	end, ok := s.Complete(t0, c, valueOf(t, "fine"))
	s.ends(t0, end, ok)
	s.want(t0, "x", Done, 2)
}

// A peer that is up may have extended its claim, which writes no record. So the item counts as
// claimed, and is tried only when there is no other item.
func TestAClaimThatMayBeOverIsTriedLast(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x"})
	s.judge(t0, "x", 5, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
	s.add(t0, Item{ID: "y"})
	now := t0.Add(time.Second)
	wantDepth(t, s.Index, now, depth{Claimed: 1, Pending: 1})
	if list := s.Peek(now, 9); len(list) != 1 || list[0].ID != "y" {
		t.Errorf("peeked %+v, want what is pending", list)
	}
	list := s.Take(now, 9, nil)
	if len(list) != 2 || list[0].ID != "y" || list[1].ID != "x" {
		t.Fatalf("took %+v", list)
	}
	s.Refused(now, list[1], &lockservice.HeldError{Left: time.Minute})
	if len(s.Take(now.Add(time.Minute-time.Millisecond), 9, nil)) != 0 || len(s.Take(now.Add(time.Minute), 9, nil)) != 1 {
		t.Error("it is not tried again when its lease may be over")
	}
}

// The items that a peer has claimed are pending as soon as the peer is known to be down.
func TestAClaimOfAPeerThatIsGoneIsPending(t *testing.T) {
	s, up := newShelf(t), true
	s.cfg.Alive = func(string) bool { return up }
	s.add(t0, Item{ID: "x"})
	s.judge(t0, "x", 5, claimHead{State: "claimed", Worker: "n1", TTL: 1000})
	now := t0.Add(time.Minute)
	wantDepth(t, s.Index, now, depth{Claimed: 1})
	up = false
	s.WakeAll(now)
	wantDepth(t, s.Index, now, depth{Pending: 1})
}

func TestPurgeRemovesWhatIsInThatState(t *testing.T) {
	s := newShelf(t)
	for _, id := range []string{"done", "dead", "mine", "wait"} {
		s.add(t0, Item{ID: id})
	}
	for token, id := range []string{"done", "dead", "mine"} {
		c := take(t, s.Index, t0, uint64(token+1))
		if c.ID != id {
			t.Fatalf("claimed %q, want %q", c.ID, id)
		}
		switch id {
		case "done":
			end, ok := s.Complete(t0, c, crdt.Value{})
			s.ends(t0, end, ok)
		case "dead":
			end, ok := s.Fail(t0, c, Failure{Dead: true})
			s.ends(t0, end, ok)
		}
	}
	s.want(t0, "mine", Claimed, 1)
	for _, ops := range s.Purge([]State{Done, Dead, Claimed}) {
		s.write(t0, ops...)
	}
	wantDepth(t, s.Index, t0, depth{Pending: 1, Claimed: 1})
	for _, id := range []string{"done", "dead"} {
		if _, there := s.Look(t0, id); there || s.Known(id) {
			t.Errorf("%q is still there", id)
		}
	}
	if !s.Known("mine") || !s.Known("wait") {
		t.Error("what was in another state is gone")
	}
}

func TestRequeueBeginsAgain(t *testing.T) {
	s := newShelf(t)
	for token, id := range []string{"x", "y"} {
		s.add(t0, Item{ID: id})
		end, ok := s.Fail(t0, take(t, s.Index, t0, uint64(token+1)), Failure{Dead: true})
		s.ends(t0, end, ok)
	}
	for _, ops := range s.Requeue([]string{"y", "z"}) {
		s.write(t0, ops...)
	}
	s.want(t0, "x", Dead, 1)
	s.want(t0, "y", Pending, 0)
	again := s.Requeue(nil)
	if len(again) != 1 {
		t.Errorf("writes %v, want to change the dead item only", again)
	}
	for _, ops := range again {
		s.write(t0, ops...)
	}
	s.want(t0, "x", Pending, 0)
	if c := take(t, s.Index, t0, 9); c.Attempt != 1 {
		t.Errorf("it is tried for the %d. time", c.Attempt)
	}
}

// An item whose workers crash is not tried for ever.
func TestAnItemIsGivenUpWhoseWorkersAreLost(t *testing.T) {
	s := newShelf(t)
	s.add(t0, Item{ID: "x", MaxAttempts: 2})
	for token := range uint64(2) {
		end, ok := s.Lost(t0, take(t, s.Index, t0, token+1))
		if !ok {
			t.Fatal("the claim had ended")
		}
		s.write(t0, end.Op)
	}
	c := s.Take(t0, 1, nil)[0]
	s.Granted(c, 3)
	ops, work := s.Confirmed(t0, c, time.Second, true)
	if work || len(ops) != 1 {
		t.Fatalf("the work begins: %t, writes %v", work, ops)
	}
	s.write(t0, ops...)
	s.Begin(t0, c)
	s.GiveUp(t0, c)
	s.want(t0, "x", Dead, 2)
}
