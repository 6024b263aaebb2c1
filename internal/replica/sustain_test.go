package replica

import (
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// The record of a worker stays as long as the worker beats at this peer and this peer was the
// last to write the record. After that it expires.
func TestWhatIsSustainedStaysAsLongAsItsWorker(t *testing.T) {
	const ttl = 40 * time.Second
	for name, end := range map[string]func(t *testing.T, w *world){
		"its worker leaves": func(_ *testing.T, w *world) { w.peers[0].Release(w.now, "worker") },
		"the peer leaves":   func(_ *testing.T, w *world) { w.peers[0].ReleaseAll(w.now) },
		"it is let go":      func(_ *testing.T, w *world) { w.peers[0].Sustain(w.now, "k", "worker", 0) },
		"another peer writes it": func(t *testing.T, w *world) {
			say(t, w, 1, ttl)
			w.run(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 1, nil)
			r := w.peers[0]
			if err := r.Host(w.now, "worker", 30*time.Second); err != nil {
				t.Fatal(err)
			}
			say(t, w, 0, ttl)
			r.Sustain(w.now, "k", "worker", ttl)
			there := func() bool {
				_, ok := r.Store().Render("k", millis(w.now))
				return ok
			}
			for range 10 {
				if w.run(ttl / 2); !there() {
					t.Fatal("it expired while its worker beat")
				}
			}
			end(t, w)
			if w.run(ttl + time.Second); there() {
				t.Error("it stays")
			}
		})
	}
}

// say writes the key at a peer, with an expiry.
func say(t *testing.T, w *world, peer int, ttl time.Duration) {
	t.Helper()
	v, err := crdt.ValueOf("busy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.peers[peer].Write(w.now, true, crdt.Op{Verb: crdt.Put, Key: "k", Value: v, Expiry: millis(w.now.Add(ttl))}); err != nil {
		t.Fatal(err)
	}
	w.carry(peer)
}
