package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// A gap request of 50 bytes is answered with a quarter of a megabyte. A peer that requests the same range again
// and again, or very many ranges, gets a bounded number of answers.
func TestRequestsForGapsAreAnsweredAtABoundedRate(t *testing.T) {
	list := cluster(2)
	honest, liar := list[0], list[1]
	for range 300 {
		honest.write(t, t0, put(t, "k", strings.Repeat("v", 4000)))
	}
	for _, m := range list {
		m.Flush(t0)
		m.Envelopes()
	}
	request := func(first uint64) []byte {
		w := liar.begin()
		w.section(secGaps, 3)
		w.actor(honest.cfg.Self)
		w.uint(first)
		w.uint(300)
		return liar.finish(w, 0, false)
	}
	answered := func(now time.Time, first uint64) (bytes int) {
		t.Helper()
		frame := request(first)
		if err := honest.Receive(now, frame); err != nil {
			t.Fatal(err)
		}
		for _, e := range honest.Envelopes() {
			bytes += len(e.Frame)
		}
		return bytes
	}
	now := t0.Add(time.Second)
	for i := range 10 * maxAnswersPerRange {
		if n := answered(now, 7); (n > 0) != (i < maxAnswersPerRange) {
			t.Errorf("the same request for the %dth time is answered with %d B", i+1, n)
		}
	}
	if answered(now, 8) == 0 {
		t.Error("another range is not answered")
	}
	now = now.Add(time.Second)
	if answered(now, 7) == 0 {
		t.Error("a second later the request is not answered")
	}
	now, total := now.Add(time.Second), 0
	for i := range uint64(5000) {
		total += answered(now, i%300+1)
	}
	if most := maxAnswerBytes + 2*repairBytes; total > most || total == 0 {
		t.Errorf("5,000 requests in a second are answered with %d B; allowed are %d", total, most)
	}
	if honest.Stats().GapsUnanswered == 0 {
		t.Error("none of this is counted")
	}
}

// Heads of thousands of actors that only their sender has named cause few gap requests and take little
// memory. Gaps of members are still requested.
func TestHeadsOfStrangersMakeFewRequests(t *testing.T) {
	list := cluster(3)
	honest, liar, known := list[0], list[1], list[2]
	show := func(actors ...clock.Actor) {
		t.Helper()
		w := liar.begin()
		w.section(secHeads, 1+2*len(actors))
		w.bool(true)
		for _, a := range actors {
			w.actor(a)
			w.uint(9)
		}
		if err := honest.Receive(t0, liar.finish(w, 0, false)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(100) {
		var made []clock.Actor
		for j := range uint64(100) {
			made = append(made, clock.Actor{Birth: 7, Rand: 1000 + 100*i + j})
		}
		show(made...)
	}
	if n := len(honest.gaps); n != maxSoleGaps {
		t.Errorf("%d gaps of made-up actors are noted, want %d", n, maxSoleGaps)
	}
	if n := len(honest.byActor[liar.cfg.Self].owedAcks); n != maxSoleGaps {
		t.Errorf("%d acknowledgements are owed", n)
	}
	if honest.Stats().HeadsIgnored != 100*100-maxSoleGaps {
		t.Errorf("%d heads are counted as ignored", honest.Stats().HeadsIgnored)
	}
	show(known.cfg.Self)
	if honest.gaps[known.cfg.Self] == nil {
		t.Error("a write of a member is not asked for")
	}
	// A gap that closes makes room for another.
	delete(honest.gaps, known.cfg.Self)
	for a := range honest.gaps {
		honest.closeGap(a)
		break
	}
	show(clock.Actor{Birth: 8, Rand: 1}, clock.Actor{Birth: 8, Rand: 2})
	if n := len(honest.gaps); n != maxSoleGaps {
		t.Errorf("%d gaps after one was closed, want %d", n, maxSoleGaps)
	}
	// A sender that is no member shows no gaps.
	far := newMachine(clock.Actor{Birth: 1, Rand: 99}, nil)
	w := far.begin()
	w.section(secHeads, 3)
	w.bool(true)
	w.actor(clock.Actor{Birth: 9, Rand: 1})
	w.uint(9)
	if err := honest.Receive(t0, far.finish(w, 0, false)); err != nil {
		t.Fatal(err)
	}
	if n := len(honest.gaps); n != maxSoleGaps {
		t.Errorf("%d gaps after who is no member showed one, want %d", n, maxSoleGaps)
	}
	// Gaps of actors that only a peer which left has named are forgotten, so that many liars leave nothing.
	var others []Peer
	for _, p := range honest.peers {
		if p.Actor != liar.cfg.Self {
			others = append(others, p.Peer)
		}
	}
	honest.SetView(t0, others)
	honest.Tick(t0.Add(time.Hour))
	if n := len(honest.gaps); n != 0 {
		t.Errorf("%d gaps of made-up actors are left when their liar is gone", n)
	}
}
