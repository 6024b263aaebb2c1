package replica

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// A store that is four fifths full is reported, and again only after it has had room.
func TestAStoreThatFillsUpIsNoticedOnce(t *testing.T) {
	const limit = 1 << 20
	r := newWorld(t, 2, 1, func(c *Config) { c.MaxBytes = limit }).peers[0]
	now := epoch
	for _, step := range []struct{ size, told int }{{5000, 0}, {9000, 1}, {9000, 0}, {100, 0}, {9000, 1}} {
		for i := range 100 {
			v, err := crdt.ValueOf(strings.Repeat("x", step.size))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Write(now, false, crdt.Op{Verb: crdt.Put, Key: fmt.Sprint("k", i), Value: v}); err != nil {
				t.Fatal(err)
			}
		}
		told := 0
		for range 10 {
			now = now.Add(time.Second)
			r.Tick(now)
			for _, n := range r.Ready().Notices {
				if n.Problem == Filling && strings.Contains(n.Detail, fmt.Sprint("of ", limit)) {
					told++
				}
			}
		}
		if told != step.told {
			t.Errorf("with values of %d B: told %d times at %d of %d, want %d", step.size, told, r.Store().Memory(), limit, step.told)
		}
	}
}

// A write that came with two contents is reported once, and stays a problem for an hour.
func TestAWriteWithTwoContentsIsNoticed(t *testing.T) {
	w := newWorld(t, 2, 1, nil)
	r, writer := w.peers[0], w.peers[1].Actor()
	for _, v := range []string{"truth", "lie"} {
		liar := crdt.New(crdt.Config{Actor: writer})
		value, err := crdt.ValueOf(v)
		if err != nil {
			t.Fatal(err)
		}
		deltas, err := liar.Apply(clock.TimestampAt(epoch), 1, crdt.Op{Verb: crdt.Put, Key: "k", Value: value})
		if err != nil {
			t.Fatal(err)
		}
		var actors crdt.ActorTable
		section := wire.NewReader(liar.AppendSection(nil, &actors, writer, 1, 1, deltas))
		if _, err := r.Store().JoinSection(&section, actors.Actors(), math.MaxUint64); err != nil {
			t.Fatal(err)
		}
	}
	var told []Notice
	known := func(now time.Time) int {
		r.Tick(now)
		told = append(told, r.Ready().Notices...)
		return len(r.Problems())
	}
	for i := range 20 {
		known(epoch.Add(time.Duration(i) * time.Second))
	}
	if len(told) != 1 || told[0].Problem != TwoContents || told[0].Name != "n1" || !strings.Contains(told[0].Detail, writer.String()+`:1 of the key "k"`) {
		t.Errorf("told is %v", told)
	}
	if known(epoch.Add(time.Minute)) != 1 {
		t.Error("it is forgotten at once")
	}
	at := epoch.Add(2 * time.Hour)
	for i := range 20 {
		known(at.Add(time.Duration(i) * time.Second))
	}
	if n := len(r.Problems()); n != 0 {
		t.Errorf("%d problems are left after two hours", n)
	}
}

// Records that one peer alone reports as gone stay at first, with a notice that names the peer.
// In the end they go on every peer, so that peers do not differ for ever.
func TestRecordsInDisputeAreNoticedAndSettled(t *testing.T) {
	const records = 100
	w := newWorld(t, 3, 1, nil)
	for i := range records {
		w.put(1, fmt.Sprint("k", i), i)
	}
	w.run(time.Second)
	if !w.agree() {
		t.Fatal("not settled")
	}
	for i := range records { // as if the peer had forgotten the removals
		e, _ := w.peers[2].Store().Render(fmt.Sprint("k", i), 0)
		w.peers[2].Store().Drop(e.Dot(), w.peers[2].Actor(), 0)
	}
	w.put(0, "more", 1)
	w.run(time.Minute)
	for i, p := range w.peers[:2] {
		problems := p.Problems()
		if p.Store().Len() != records+1 || len(problems) != 1 || problems[0].Problem != Disputed || problems[0].Name != "n2" {
			t.Errorf("n%d holds %d keys, its problems are %v", i, p.Store().Len(), problems)
		}
	}
	w.run(11 * time.Minute)
	for i, p := range w.peers {
		if p.Store().Len() != 1 || len(p.Problems()) != 0 {
			t.Errorf("eleven minutes later n%d holds %d keys, its problems are %v", i, p.Store().Len(), p.Problems())
		}
	}
	if !w.agree() {
		t.Error("they do not agree")
	}
}
