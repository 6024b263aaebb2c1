package crdt

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/clock"
)

// inUse returns the number of bytes on the heap after a garbage collection.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Store.Memory is close to the memory on the heap, for stores of all shapes.
func TestMemoryIsWhatTheHeapHolds(t *testing.T) {
	object := func(fields, size int) Value {
		m := make(map[string]any)
		for i := range fields {
			m[fmt.Sprint("field-", i)] = noise(size)
		}
		v, _ := ValueOf(m)
		return v
	}
	for _, shape := range []struct {
		name string
		n    int
		op   func(i int) Op
	}{
		{"numbers", 20_000, func(i int) Op { v, _ := ValueOf(i); return Op{Verb: Put, Key: fmt.Sprint("k", i), Value: v} }},
		{"texts of 200 B", 20_000, func(i int) Op { return Op{Verb: Put, Key: fmt.Sprintf("tasks/%d/state", i), Value: text(200)} }},
		{"texts of 4 KiB", 2_000, func(i int) Op { return Op{Verb: Put, Key: fmt.Sprintf("tasks/%d/state", i), Value: text(4 << 10)} }},
		{"those that expire", 20_000, func(i int) Op {
			return Op{Verb: Put, Key: fmt.Sprintf("tasks/%d/state", i), Value: text(20), Expiry: 1 << 40}
		}},
		{"counters", 20_000, func(i int) Op { return Op{Verb: Increment, Key: fmt.Sprint("n", i), Delta: 1} }},
		{"objects of 1", 10_000, func(i int) Op { return Op{Verb: Patch, Key: fmt.Sprint("o", i), Value: object(1, 10)} }},
		{"objects of 8", 5_000, func(i int) Op { return Op{Verb: Patch, Key: fmt.Sprint("o", i), Value: object(8, 30)} }},
		{"an object of many", 20, func(i int) Op { return Op{Verb: Patch, Key: fmt.Sprint("o", i), Value: object(2000, 30)} }},
		{"sets", 5_000, func(i int) Op {
			var list []Value
			for j := range 8 {
				v, _ := ValueOf(fmt.Sprint("element-", j))
				list = append(list, v)
			}
			return Op{Verb: Add, Key: fmt.Sprint("s", i), Values: list}
		}},
	} {
		before := inUse()
		s := New(Config{Actor: clock.Actor{Birth: 1, Rand: 1}})
		for i := range shape.n {
			op := shape.op(i)
			if _, err := s.Apply(clock.Timestamp(i+1), 0, op); err != nil {
				t.Fatal(err)
			}
			s.Recycle(s.Changes())
			s.Render(op.Key, 0)
		}
		took := inUse() - before
		ratio := float64(s.Memory()) / float64(took)
		t.Logf("%-20s heap %9d, said %9d: %.2f", shape.name, took, s.Memory(), ratio)
		if ratio < 0.75 || ratio > 1.6 {
			t.Errorf("%s: the heap holds %d bytes, Memory says %d", shape.name, took, s.Memory())
		}
		runtime.KeepAlive(s)
	}
}

func noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}
