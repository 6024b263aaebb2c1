package gossip

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func TestABadFrameIsRefusedByName(t *testing.T) {
	good := newMachine(ann, nil).write(t, t0, put(t, "color", "red"))[0].Frame
	f := func(reason string, frame []byte) {
		t.Helper()
		b := newMachine(bob, nil)
		err := b.Receive(t0, frame)
		var bad *FrameError
		if !errors.As(err, &bad) || bad.Reason != reason || b.Stats().Refused[reason] != 1 {
			t.Errorf("%v, want %s; counted %v", err, reason, b.Stats().Refused)
		}
		if b.store.Len() != 0 {
			t.Errorf("%s: something was merged", reason)
		}
	}
	f("malformed", nil)
	f("malformed", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f("malformed", good[:len(good)-1])
	f("too-large", make([]byte, wire.MaxFrameBytes+1))
	version := append([]byte{}, good...)
	version[1] = 2
	f("version", version)
	other := newMachine(ann, func(c *Config) { c.Cluster = "another" }).write(t, t0, put(t, "color", "red"))[0].Frame
	f("cluster", other)
	w := newMachine(ann, nil)
	fw := w.begin()
	fw.section(firstCritical, 0)
	f("critical-section", w.finish(fw, 0, false))
	bomb := wire.AppendUint(wire.AppendUint(wire.AppendUint(wire.AppendArray(nil, 4), Version), flagS2), uint64(w.cluster))
	f("decompress", wire.AppendBin(bomb, []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0}))

	fw = w.begin()
	fw.section(lastCritical+1, 1)
	fw.uint(7)
	if err := newMachine(bob, nil).Receive(t0, w.finish(fw, 0, false)); err != nil {
		t.Errorf("an unknown section that is not critical: %v", err)
	}
}

func TestFiveBytesCostNothing(t *testing.T) {
	b := newMachine(bob, nil)
	frame := []byte{0xdd, 0xff, 0xff, 0xff, 0xff}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_ = b.Receive(t0, frame)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100*512 {
		t.Errorf("%d bytes for a hundred", n)
	}
}

func FuzzReceive(f *testing.F) {
	for _, frame := range goldenFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := newMachine(bob, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = b.Receive(t0, frame)
		runtime.ReadMemStats(&after)
		// A frame may decompress to a thousand times its size, up to the limit, and each record
		// takes memory in the tables of the store.
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20+1000*uint64(len(frame))+4*wire.MaxFrameBytes {
			t.Fatalf("%d bytes of frame allocate %d", len(frame), n)
		}
		b.Tick(t0.Add(time.Second))
		for _, e := range b.Envelopes() {
			if len(e.Frame) > wire.MaxFrameBytes {
				t.Fatalf("an answer of %d bytes", len(e.Frame))
			}
		}
	})
}

// BenchmarkReceive decodes and merges frames of a hundred writes of 200 bytes to existing keys.
func BenchmarkReceive(b *testing.B) {
	a := newMachine(ann, nil)
	var rounds [][]Envelope
	for round := range 200 {
		var ops []crdt.Op
		for i := range 100 {
			ops = append(ops, put(b, fmt.Sprintf("task-sentinel/tasks/%04d/status", i), strings.Repeat(fmt.Sprint((i+round)%10), 200)))
		}
		rounds = append(rounds, a.write(b, t0, ops...))
		a.Window(bob, initialWindow)
	}
	var to *machine
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(rounds) == 0 {
			to = newMachine(bob, nil)
		}
		for _, e := range rounds[i%len(rounds)] {
			if err := to.Receive(t0, e.Frame); err != nil {
				b.Fatal(err)
			}
		}
		to.store.Recycle(to.store.Changes())
		to.Envelopes()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delta")
}

// No peer makes a frame that another one refuses, be it of very many small records, or of records that
// each name very many actors whose writes they overwrote.
func TestTheLargestFramesAreTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("the test is large, and has one goroutine, so the race detector finds nothing in it")
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
