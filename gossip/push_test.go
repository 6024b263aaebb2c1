package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func TestMetadataStaysSmall(t *testing.T) {
	a := newMachine(ann, nil)
	v := strings.Repeat("v", 200)
	key := "task-sentinel/tasks/0001/status"
	frame := a.write(t, t0, put(t, key, v))[0].Frame
	if meta := len(frame) - len(key) - len(v); meta > 60 {
		t.Errorf("a write alone carries %d bytes of metadata, want at most 60", meta)
	}
	var ops []crdt.Op
	content := 0
	for i := range 100 {
		k := fmt.Sprintf("task-sentinel/tasks/%04d/status", i)
		noise := fmt.Sprintf("%x", mix(ann, clock.Actor{Rand: uint64(i)})) // a value that does not compress
		ops = append(ops, put(t, k, noise))
		content += len(noise)
	}
	before := a.stats.BytesSent
	a.write(t, t0, ops...)
	if per := (int(a.stats.BytesSent-before) - content) / 100; per > 24 {
		t.Errorf("a write among a hundred carries %d bytes beside its value, want at most 24", per)
	}
}

func TestAWriteThatWasReplacedIsNotSent(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.BatchInterval = 100 * time.Millisecond })
	for i := range 100 {
		ds, err := a.store.Apply(a.hlc.Now(t0), 0, put(t, "hot", strings.Repeat(fmt.Sprint(i%10), 500)))
		if err != nil {
			t.Fatal(err)
		}
		a.Push(t0, ds, false)
	}
	if out := a.Envelopes(); len(out) != 0 {
		t.Fatalf("%d frames before the batch interval", len(out))
	}
	a.Tick(t0.Add(100 * time.Millisecond))
	out := a.Envelopes()
	b := newMachine(bob, nil)
	if err := b.Receive(t0, out[0].Frame); err != nil {
		t.Fatal(err)
	}
	if len(out[0].Frame) > 700 {
		t.Errorf("%d bytes for one surviving write", len(out[0].Frame))
	}
	if !b.store.Context().Contains(clock.Dot{Actor: ann, Seq: 1}) || b.store.Sum() != a.store.Sum() {
		t.Error("the replaced writes do not count as seen")
	}
}

func TestAPeerThatTakesNothingCostsABoundedQueue(t *testing.T) {
	a := newMachine(ann, func(c *Config) { c.QueueBytes = 1 << 20 })
	a.Window(bob, 0)
	for i := range 10_000 {
		a.write(t, t0, put(t, fmt.Sprint("key-", i), strings.Repeat("v", 1000)))
		if q := a.Stats().QueuedBytes; q > 1<<20+2000 {
			t.Fatalf("%d bytes wait", q)
		}
	}
	if !a.Peers()[0].Behind {
		t.Fatal("the peer is not marked as behind")
	}
	b := newMachine(bob, nil)
	for range 100 { // b catches up by requesting syncs
		b.sendSyncRequest(t0, b.peers[0])
		request := pick(t, b.Envelopes(), secSyncRequest)
		if err := a.Receive(t0, request); err != nil {
			t.Fatal(err)
		}
		for _, e := range a.Envelopes() {
			if err := b.Receive(t0, e.Frame); err != nil {
				t.Fatal(err)
			}
		}
		b.Envelopes()
		if b.store.Sum() == a.store.Sum() {
			break
		}
	}
	if b.store.Len() != 10_000 || a.Peers()[0].Behind {
		t.Fatalf("%d of 10000 keys, behind: %t", b.store.Len(), a.Peers()[0].Behind)
	}
}

// BenchmarkPush queues and frames a hundred writes of 200 bytes.
func BenchmarkPush(b *testing.B) {
	a := newMachine(ann, nil)
	var ops []crdt.Op
	for i := range 100 {
		ops = append(ops, put(b, fmt.Sprintf("task-sentinel/tasks/%04d/status", i), strings.Repeat(fmt.Sprint(i%10), 200)))
	}
	ds, err := a.store.Apply(a.hlc.Now(t0), 0, ops...)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Push(t0, ds, false)
		a.Flush(t0)
		a.Envelopes()
		a.Window(bob, initialWindow)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delta")
}
