package lockservice

import (
	"slices"
	"testing"
	"time"
)

// Every peer treats a voter that has started again as fresh until the voter has heard of every
// lease, even if a majority answers. An older answer about the voter does not change that.
func TestAVoterThatHasStartedIsFreshUntilItKnowsAllLeases(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		if got := a.Turnout(t.Context()); got.Err != nil || got.Fresh != nil || got.Mute != nil {
			t.Fatalf("all take part: %+v", got)
		}
		lease := mustLock(t, a, "x", WithTTL(10*time.Second))
		w.stop(b)
		b = w.open("b", abc, func(c *SessionConfig) { c.Node.FirstBoot = false })
		began := time.Now()
		most := b.Stats().Fresh
		if most < 22*time.Second || most > 23*time.Second {
			t.Fatalf("it says %v", most)
		}
		for {
			got, self := a.Turnout(t.Context()), b.Stats().Fresh
			if got.Err != nil {
				t.Fatalf("after %v: %v", time.Since(began), got.Err)
			}
			if got.Fresh == nil && self == 0 {
				break
			}
			if len(got.Fresh) != 1 || got.Fresh[0].Voter != "b" || (got.Fresh[0].Left-self).Abs() > 10*time.Millisecond {
				t.Fatalf("after %v: %+v, and b itself says %v", time.Since(began), got, self)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waited := time.Since(began); waited < most || waited > most+time.Second {
			t.Errorf("it was fresh for %v of %v", waited, most)
		}
		info, err := b.Recorded("x")
		if err != nil || len(info.Holders) != 1 || info.Holders[0].Token != lease.Token() {
			t.Errorf("it has %+v on record, %v", info, err)
		}
	})
}

func TestAVoterThatDoesNotAnswerIsNamedBesideAMajority(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, _, _ := w.three()
		w.isolate(true, false, "c")
		if got := a.Turnout(t.Context()); got.Err != nil || !slices.Equal(got.Mute, []string{"c"}) {
			t.Errorf("c is mute: %+v", got)
		}
		w.isolate(true, true, "c") // now every peer's view shows that the voter is away
		if got := a.Turnout(t.Context()); got.Err != nil || got.Mute != nil {
			t.Errorf("c is away: %+v", got)
		}
	})
}

// Other peers wait only for a voter that has run before.
func TestAVoterReturnsIfItHasBeenHereBefore(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		dir := t.TempDir()
		starts := func(what string, voters []string, first bool, want time.Duration) {
			t.Helper()
			s := w.open("a", voters, func(c *SessionConfig) { c.StateDir, c.Node.FirstBoot = dir, first })
			if got := s.Returning(); got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
			time.Sleep(time.Minute) // the voter writes its state
			if got := s.Returning(); got != 0 {
				t.Errorf("%s, later: %v", what, got)
			}
			w.stop(s)
		}
		starts("a fresh cluster", abc, false, 0)
		starts("a restart", abc, false, stretch(15*time.Second, 10_000)+5*time.Second)
		starts("a restart, said to be none", abc, true, 0)
		starts("the one voter", abc[:1], false, 0)
	})
}
