package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

func benchKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("task-sentinel/bench/%08d/state", i)
	}
	return keys
}

// BenchmarkGet reads keys in the order in which they were written, where the processor's caches help,
// and in random order among so many keys that the caches do not help.
func BenchmarkGet(b *testing.B) {
	for _, c := range []struct {
		name  string
		count int
		mix   bool
	}{{"in-order", 100_000, false}, {"at-random", 1_000_000, true}} {
		a := open(b, Config{Name: "n1"})
		keys := benchKeys(c.count)
		for _, k := range keys {
			if err := a.Put(b.Context(), k, "v"); err != nil {
				b.Fatal(err)
			}
		}
		if c.mix {
			rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := a.Get(keys[i%len(keys)]); !ok {
					b.Fatal("absent")
				}
			}
		})
	}
}

// BenchmarkTypedRead measures the read of a record that the cache has decoded.
func BenchmarkTypedRead(b *testing.B) {
	a := open(b, Config{Name: "n1"})
	ctx := b.Context()
	for i := range 1000 {
		id := fmt.Sprintf("task-%04d", i)
		for _, err := range []error{
			a.Tasks().SetState(ctx, id, fleet.TaskState{Status: "running", Worker: "n1", Labels: []string{"gpu", "eu"}}),
			a.Workers().SetStatus(ctx, id, fleet.WorkerStatus{Status: "busy", Running: 1}),
			a.Agents().SetCoordination(ctx, id, "coder", fleet.AgentInfo{Role: "coder"}),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	bench := func(name string, read func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	id := "task-0777"
	bench("task", func() error { _, err := a.Tasks().State(id); return err })
	bench("worker", func() error { _, err := a.Workers().Status(id); return err })
	bench("agent", func() error { _, err := a.Agents().Coordination(id, "coder"); return err })
	key := fleet.TaskStateKey(id)
	bench("get-as", func() error { _, err := GetAs[fleet.TaskState](a, key); return err })
}

func BenchmarkPut(b *testing.B) {
	keys := benchKeys(10_000)
	value := strings.Repeat("v", 200)
	b.Run("alone", func(b *testing.B) {
		a := open(b, Config{Name: "n1"})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := a.Put(b.Context(), keys[i%len(keys)], value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("three-peers", func(b *testing.B) {
		peers := trio(b, nil)
		b.ReportAllocs()
		i := 0
		for ; b.Loop(); i++ {
			if err := peers[0].Put(b.Context(), keys[i%len(keys)], value); err != nil {
				b.Fatal(err)
			}
		}
		if err := peers[0].WaitReplicated(b.Context(), 2); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "replicated/s")
	})
}

// BenchmarkVisible measures the time from a write until subscribers at both other peers have it.
func BenchmarkVisible(b *testing.B) {
	for _, keyed := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "sealed"}[keyed], func(b *testing.B) {
			peers := trio(b, func(c *Config) {
				if keyed {
					c.Keys = [][]byte{[]byte("0123456789abcdef0123456789abcdef")}
				}
			})
			var subs []*Subscription
			for _, p := range peers[1:] {
				s, err := p.Watch(b.Context(), "k/**")
				if err != nil {
					b.Fatal(err)
				}
				subs = append(subs, s)
			}
			value := strings.Repeat("v", 200)
			for i := 0; b.Loop(); i++ {
				if err := peers[0].Put(b.Context(), fmt.Sprintf("k/%d", i%100), value); err != nil {
					b.Fatal(err)
				}
				for _, s := range subs {
					next(b, s)
				}
			}
		})
	}
}

// BenchmarkUpdate compares one unit of 100 increments, made by Update or as operations that are
// ready, with 100 units of one. One operation is one increment.
func BenchmarkUpdate(b *testing.B) {
	const unit = 100
	a := open(b, Config{Name: "n1"})
	ctx := b.Context()
	keys := make([]string, unit)
	ops := make([]crdt.Op, unit)
	for i := range keys {
		keys[i] = fmt.Sprint("n/", i)
		ops[i] = crdt.Op{Verb: crdt.Increment, Key: keys[i], Delta: 1}
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for range (b.N + unit - 1) / unit {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("update", func() error {
		return a.Update(ctx, func(tx *Tx) error {
			for _, key := range keys {
				tx.Increment(key, 1)
			}
			return nil
		})
	})
	run("ready", func() error { return a.mem.Write(ctx, memory.Manner{}, ops...) })
	run("single", func() (err error) {
		for _, key := range keys {
			err = errors.Join(err, a.Counter(key).Add(ctx, 1))
		}
		return err
	})
}
