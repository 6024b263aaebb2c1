package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A peer whose clock is an hour ahead of the others refuses its own writes, because the others
// would set them aside. All peers, itself included, name it. The others continue.
func TestAClockAheadOfTheClusterRefusesToWrite(t *testing.T) {
	w := newWorld(t, 3, 7, nil)
	op := crdt.Op{Verb: crdt.Increment, Key: "n", Delta: 1}
	write := func(i int) error {
		_, err := w.peers[i].Write(w.clock(i), false, op)
		w.carry(i)
		return err
	}
	if err := write(0); err != nil {
		t.Fatalf("with a good clock: %v", err)
	}
	w.run(2 * time.Second)
	w.ahead = time.Hour
	w.carry(0)
	w.run(2 * time.Minute)
	if err := write(0); !errors.Is(err, ErrClockSkew) {
		t.Errorf("an hour ahead: %v", err)
	}
	if err := write(1); err != nil {
		t.Errorf("a peer with a good clock: %v", err)
	}
	want := []Notice{{Problem: ClockSkew, Name: "n0"}}
	for i, p := range w.peers {
		if got := p.Problems(); !slices.Equal(got, want) {
			t.Errorf("to n%d the problems are %v", i, got)
		}
	}
	w.ahead = 0
	w.run(2 * time.Minute)
	if err := write(0); err != nil {
		t.Errorf("set right again: %v", err)
	}
	for i, p := range w.peers[1:] { // n0 is left out, because its timers have no monotonic clock here
		if got := p.Problems(); len(got) != 0 {
			t.Errorf("set right, yet to n%d the problems are %v", i+1, got)
		}
	}
}

// A replica that restarts from its disk has every write that it had sent to others. Its next
// write is later than all before, and it sends the writes that no other peer has.
func TestALifeGoesOnFromDisk(t *testing.T) {
	w := newWorld(t, 3, 8, func(c *Config) { c.Journal = true })
	w.put(0, "color", "red")
	w.run(time.Second)
	w.cut = func(from, to int) bool { return from == 0 || to == 0 }
	w.put(0, "only", "here")
	w.now = w.now.Add(30 * time.Second)
	late, err := w.peers[0].Write(w.now, false, crdt.Op{Verb: crdt.Delete, Key: "color"})
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(-30 * time.Second)
	disk := append(w.journal, w.peers[0].Ready().Journal)
	cfg := w.peers[0].cfg
	cfg.Gossip.Self = clock.Actor{Birth: 2, Rand: 1}
	back := New(w.now, cfg)
	if err := back.Restore(func(yield func([]byte, bool) bool) {
		for _, e := range disk {
			if !yield(e, false) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	w.peers[0] = back
	w.cut = nil
	w.view()
	again, err := back.Write(w.now, false, crdt.Op{Verb: crdt.Increment, Key: "n", Delta: 1})
	if err != nil || again.Stamp <= late.Stamp {
		t.Errorf("a write at %v after one at %v: %v", again.Stamp, late.Stamp, err)
	}
	w.carry(0)
	w.run(30 * time.Second)
	if _, ok := w.peers[1].Store().Render("only", 0); !ok || !w.agree() {
		t.Error("what only the disk had did not spread")
	}
}
