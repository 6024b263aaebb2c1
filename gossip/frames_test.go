package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// No peer makes a frame that another refuses: neither of very many small records, nor
// of records that each name very many actors whose writes they overwrote.
func TestTheLargestFramesAreTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("large, and has one goroutine: the race detector need not see it")
	}
	f := func(name string, fill func(m *machine)) {
		t.Run(name, func(t *testing.T) {
			a, b := newMachine(ann, nil), newMachine(bob, nil)
			fill(a)
			for _, m := range []*machine{a, b} {
				m.SetView(t0, []Peer{{Actor: ann, Name: "ann", Alive: true}, {Actor: bob, Name: "bob", Alive: true}})
				m.Envelopes()
			}
			a.Window(bob, 1<<30)
			now := t0
			b.requestSync(now, b.byActor[ann])
			for range 1000 {
				now = now.Add(time.Millisecond)
				for _, m := range []struct{ from, to *machine }{{b, a}, {a, b}} {
					for _, e := range m.from.Envelopes() {
						if err := m.to.Receive(now, e.Frame); err != nil {
							t.Fatal(err)
						}
					}
					m.to.Tick(now)
				}
				if b.store.Context().Covers(a.store.Context()) {
					return
				}
			}
			t.Errorf("%d keys of %d came", b.store.Len(), a.store.Len())
		})
	}
	many := func(m *machine, stamp int, keys int) {
		for first := 0; first < keys; first += 1000 {
			var ops []crdt.Op
			for i := range min(1000, keys-first) {
				ops = append(ops, put(t, fmt.Sprint(first+i), 1))
			}
			if _, err := m.store.Apply(clock.TimestampAt(t0)+clock.Timestamp(stamp), 0, ops...); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("small", func(m *machine) { many(m, 1, 60_000) })
	f("with-long-pasts", func(m *machine) {
		for i := range 300 {
			m.store.SetActor(clock.Actor{Birth: 7, Rand: uint64(i + 1)})
			many(m, i+1, 300)
		}
		m.store.SetActor(ann)
	})
}
