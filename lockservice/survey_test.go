package lockservice

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// text returns a survey in a short form: lock: holders of peers for clients | waiting callers.
func (s Survey) text() string {
	var lines []string
	list := func(clients []Client) string {
		var all []string
		for _, c := range clients {
			all = append(all, strings.TrimSuffix(c.Peer+" for "+c.Name, " for "))
		}
		return strings.Join(all, ", ")
	}
	for _, l := range s.Locks {
		lines = append(lines, fmt.Sprintf("%s: %s | %s", l.Lock, list(l.Holders), list(l.Waiting)))
	}
	return strings.Join(lines, "; ")
}

func wantSurvey(t *testing.T, s *Session, q Query, want string, silent ...string) (got Survey) {
	t.Helper()
	q.Most = max(q.Most, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	got, err := s.Survey(ctx, q)
	if err != nil || got.text() != want || !slices.Equal(got.Silent, silent) {
		t.Errorf("%s: %q, silent %q, %v; want %q, silent %q", s.cfg.Node.Self, got.text(), got.Silent, err, want, silent)
	}
	return got
}

// waits starts a call of a client that waits for a lock until the test ends.
func waits(t *testing.T, s *Session, name string, opts ...Option) {
	t.Helper()
	before := s.Stats().Waiting
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = s.Lock(ctx, name, opts...) }()
	t.Cleanup(func() { cancel(); <-ended })
	for s.Stats().Waiting == before {
		time.Sleep(10 * time.Millisecond)
	}
}

// Every peer, voter or not, lists the clients of all peers, with waiting ones in their order.
func TestASurveyNamesTheClientsOfAllPeers(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		d := w.open("d", abc, nil)
		first := mustLock(t, d, "x", WithClient("ci"), WithBearer(), WithTTL(15*time.Second))
		for i, s := range []*Session{b, d, b, a} {
			waits(t, s, "x", WithClient(fmt.Sprint("w", i)))
			time.Sleep(50 * time.Millisecond)
		}
		mustLock(t, a, "y")
		mustLock(t, b, "queues/q/1")
		all := Query{Skip: "queues/", Most: 10}
		const want = "x: d for ci | b for w0, d for w1, b for w2, a for w3; y: a | "
		for _, s := range []*Session{a, b, c, d} {
			got := wantSurvey(t, s, all, want)
			if !got.Certain || got.Next != "" || got.Locks[0].Holders[0].Token != first.Token() || got.Locks[0].Holders[0].Voters != 3 {
				t.Errorf("%+v", got)
			}
			wantSurvey(t, s, Query{Only: "y"}, "y: a | ")
			wantSurvey(t, s, Query{Only: "z"}, "")
		}
		if page := wantSurvey(t, c, Query{Skip: "queues/", Most: 1}, "x: d for ci | b for w0, d for w1, b for w2, a for w3"); page.Next != "x" {
			t.Errorf("the next page is behind %q", page.Next)
		}
		wantSurvey(t, c, Query{After: "x", Skip: "queues/"}, "y: a | ")

		// A client whose lease goes on at another peer belongs to that peer.
		if _, err := b.Resume(t.Context(), "x", first.ID(), WithClient("ci, elsewhere")); err != nil {
			t.Fatal(err)
		}
		wantSurvey(t, a, Query{Only: "x"}, "x: b for ci, elsewhere | b for w0, d for w1, b for w2, a for w3")
	})
}

// If a peer does not answer, the voters know its leases and waiting calls, but not its clients.
// The survey says so. Only the first survey waits for that peer.
func TestASurveySaysWhoseClientsItDoesNotKnow(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, c := w.three()
		d := w.open("d", abc, nil)
		mustLock(t, d, "x", WithClient("ci"), WithBearer(), WithTTL(15*time.Second))
		mustLock(t, a, "y", WithBearer(), WithTTL(15*time.Second))
		waits(t, d, "y", WithClient("late"))
		time.Sleep(time.Second) // the calls must be made at different times to have an order
		waits(t, b, "y", WithClient("later"))
		all := Query{Most: 10}
		w.isolate(true, false, "d")
		const want = "x: d | ; y: a | d, b for later"
		began := time.Now()
		for range 3 {
			wantSurvey(t, c, all, want, "d")
		}
		if took := time.Since(began); took > 600*time.Millisecond {
			t.Errorf("three surveys took %v", took)
		}
		w.view() // every peer's view shows that d is gone
		wantSurvey(t, a, all, want, "d")
		w.isolate(true, true, "b", "c")
		if got := wantSurvey(t, a, Query{Only: "y"}, "y: a | ", "b", "c"); got.Certain {
			t.Error("one voter of three is certain")
		}
		w.isolate(false, true, "b", "c", "d")
		time.Sleep(muteFor)
		wantSurvey(t, c, Query{Only: "y"}, "y: a | d for late, b for later")
	})
}

// A page of a survey has a bound, however many locks are held. Entries that are left out are
// counted, or are on the next page.
func TestASurveyIsBounded(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b, _ := w.three()
		const locks = 400
		long := strings.Repeat("l", 240)
		for i := range locks {
			mustLock(t, b, fmt.Sprintf("%s%04d", long, i), WithBearer(), WithTTL(15*time.Second))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		for range maxListed + 10 {
			go func() { _, _ = a.Lock(ctx, "z", WithShared()); done <- struct{}{} }()
		}
		mustLock(t, b, "z")
		time.Sleep(time.Second)
		seen, pages := 0, 0
		for next := ""; ; pages++ {
			s, err := a.Survey(t.Context(), Query{After: next, Most: MaxPage})
			if err != nil || len(s.Locks) == 0 {
				t.Fatalf("%d locks: %+v, %v", seen, s, err)
			}
			seen += len(s.Locks)
			if last := s.Locks[len(s.Locks)-1]; last.Lock == "z" && len(last.Waiting)+last.More != maxListed+10 && len(last.Holders) < maxListed {
				t.Errorf("z: %d wait, and %d more", len(last.Waiting), last.More)
			}
			if next = s.Next; next == "" {
				break
			}
		}
		if seen != locks+1 || pages < 1 {
			t.Errorf("%d locks on %d pages", seen, pages+1)
		}
		cancel()
		for range maxListed + 10 {
			<-done
		}
	})
}

// Two peers that are each the only voter of their own list have separate locks. The survey of
// one does not list the locks of the other.
func TestASurveyTellsNoLocksOfOtherVoters(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a, b := w.open("a", []string{"a"}, nil), w.open("b", []string{"b"}, nil)
		mustLock(t, a, "x", WithClient("one"))
		mustLock(t, b, "x", WithClient("two"))
		waits(t, b, "x")
		wantSurvey(t, a, Query{Most: 10}, "x: a for one | ")
	})
}

func TestAClientsNameIsText(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		a := w.open("a", []string{"a"}, nil)
		for _, bad := range []string{"a\x1b[2J", "\xff", strings.Repeat("x", MaxClientBytes+1)} {
			if _, err := a.TryLock(t.Context(), "x", WithClient(bad)); err == nil || !strings.Contains(err.Error(), "control characters") {
				t.Errorf("%q: %v", bad, err)
			}
			m := Message{Kind: KnownReply, Round: 1, Known: []known{{lock: "x", clients: []Client{{Peer: "b", Name: bad}}}}}
			if err := a.node.Receive(a.time(), "b", packet(a.node, m)); err == nil {
				t.Errorf("%q is taken from a peer", bad)
			}
		}
	})
}
