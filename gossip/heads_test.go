package gossip

import (
	"slices"
	"testing"
	"time"
)

// The heads of a burst whose packet was lost are announced until the receiver acknowledges them. The receiver
// requests the gap as soon as it gets the heads.
func TestABurstIsAnnouncedUntilItIsThere(t *testing.T) {
	list := cluster(2)
	a, b := list[0], list[1]
	a.write(t, t0, put(t, "k", "v")) // lost
	now := t0
	announce := func() [][]byte {
		now = now.Add(headInterval)
		a.Tick(now)
		return frames(a.Envelopes())
	}
	if lost := announce(); len(lost) != 1 {
		t.Fatalf("%d announcements after %v, want one", len(lost), headInterval)
	}
	heads := announce()
	if len(heads) != 1 {
		t.Fatalf("%d announcements although nobody answered, want one", len(heads))
	}
	give := func(to *machine, list [][]byte) [][]byte {
		t.Helper()
		for _, f := range list {
			if err := to.Receive(now, f); err != nil {
				t.Fatal(err)
			}
		}
		to.Tick(now)
		to.Flush(now)
		return frames(to.Envelopes())
	}
	question := give(b, heads)
	if len(question) != 1 {
		t.Fatalf("%d frames answer an announcement of what is missing, want one question at once", len(question))
	}
	ack := give(b, give(a, question))
	if b.store.Len() != 1 || len(ack) != 1 {
		t.Fatalf("%d keys and %d frames after the answer, want one and one", b.store.Len(), len(ack))
	}
	give(a, ack)
	for range maxHeads {
		if more := announce(); len(more) > 0 {
			t.Fatal("it is announced although it has arrived")
		}
	}
}

// Announcements that nobody acknowledges end after maxHeads.
func TestAnnouncementsEnd(t *testing.T) {
	a := cluster(2)[0]
	a.write(t, t0, put(t, "k", "v"))
	n := 0
	for now := t0; now.Before(t0.Add(10 * time.Second)); now = now.Add(time.Millisecond) {
		a.Tick(now)
		for _, e := range a.Envelopes() {
			if e.Class == Packet && slices.Contains(kinds(e.Frame), secHeads) {
				n++
			}
		}
	}
	if n != maxHeads {
		t.Errorf("%d announcements, want %d", n, maxHeads)
	}
}
