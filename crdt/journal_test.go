package crdt

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// image is a store's image on disk.
type image map[string][]byte

func (m image) write(list []Saved) {
	for _, e := range list {
		if e.Value == nil {
			delete(m, string(e.Key))
		} else {
			m[string(e.Key)] = e.Value
		}
	}
}

func (m image) restore(t failer) *Store {
	t.Helper()
	s := New(Config{Actor: clock.Actor{Birth: 9, Rand: 9}})
	keys := slices.Sorted(maps.Keys(m))
	for _, k := range keys {
		if err := s.Restore(Saved{[]byte(k), m[k]}); err != nil {
			t.Fatalf("restore: %v", err)
		}
	}
	return s
}

// After each step of a random history, a store that is restored from the image has the same
// records and the same context. The image has no other entries.
func TestTheImageOnDiskIsTheStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newModel()
		n := c.replicas[0]
		n.store.journals = true
		disk := image{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				c.write(t, n, modelOp(t), time.UnixMilli(0))
			case 2:
				c.write(t, c.replicas[1], modelOp(t), time.UnixMilli(0))
			case 3:
				c.collect(t, n)
			case 4:
				if len(c.log) > 0 {
					c.deliver(t, n, c.log[rapid.IntRange(0, len(c.log)-1).Draw(t, "which")])
				}
			default:
				seen := clock.NewContext()
				seen.AddRange(c.replicas[2].store.self.actor, 5, 7)
				n.store.Adopt(seen)
			}
			if rapid.Bool().Draw(t, "write") {
				continue
			}
			disk.write(n.store.Journal())
			back := disk.restore(t)
			if !back.Context().Equal(n.store.Context()) {
				t.Fatal("another context")
			}
			if !bytes.Equal(back.AppendState(nil), n.store.AppendState(nil)) || back.Sum() != n.store.Sum() {
				t.Fatal("another state")
			}
			if want := n.store.Stats().Live + n.store.Context().Len(); len(disk) != want {
				t.Fatalf("the disk holds %d entries, want %d", len(disk), want)
			}
		}
	})
}

func TestABrokenImageIsRefusedByEntry(t *testing.T) {
	good := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}, Journal: true})
	if _, err := good.Apply(1<<20, 0, Op{Verb: Put, Key: "k", Value: num(1)}); err != nil {
		t.Fatal(err)
	}
	for _, e := range good.Journal() {
		for cut := range e.Value {
			s := New(Config{Actor: clock.Actor{Birth: 2, Rand: 2}})
			if err := s.Restore(Saved{e.Key, e.Value[:cut]}); err == nil || s.Len() != 0 {
				t.Errorf("%x cut at %d: %v", e.Key, cut, err)
			}
		}
	}
}
