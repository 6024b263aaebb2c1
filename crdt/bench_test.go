package crdt

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

var (
	here  = clock.Actor{Birth: 1, Rand: 1}
	there = clock.Actor{Birth: 1, Rand: 2}
)

func text(n int) Value {
	v, _ := ValueOf(string(make([]byte, n)))
	return v
}

// sections returns sections of n puts each, which write k keys in turn.
func sections(b testing.TB, k, n, perKey int) ([]clock.Actor, [][]byte) {
	src := New(Config{Actor: there})
	var table ActorTable
	var out [][]byte
	var ds []Delta
	flush := func() {
		out = append(out, src.AppendSection(nil, &table, there, ds[0].Seq(), ds[len(ds)-1].Seq(), ds))
		ds = ds[:0]
	}
	v := text(200)
	for i := range k * perKey {
		got, err := src.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: fmt.Sprintf("tasks/%06d/state", i%k), Value: v})
		if err != nil {
			b.Fatal(err)
		}
		if ds = append(ds, got...); len(ds) == n {
			flush()
		}
	}
	return table.Actors(), out
}

func BenchmarkApplyPut200(b *testing.B) {
	s := New(Config{Actor: here})
	v := text(200)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("tasks/%06d/state", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: keys[i%1024], Value: v}); err != nil {
			b.Fatal(err)
		}
		s.Recycle(s.Changes())
		i++
	}
}

// One op is one delta of 200 B decoded and merged over an older value.
// One leaf of an object of 100 fields, half of them objects, written again.
func BenchmarkPatchLeaf(b *testing.B) {
	fields := make(map[string]any)
	for i := range 50 {
		fields[fmt.Sprintf("flat-%d", i)] = i
		fields[fmt.Sprintf("deep-%d", i)] = map[string]any{"leaf": i}
	}
	whole, err := ValueOf(fields)
	if err != nil {
		b.Fatal(err)
	}
	for name, patch := range map[string]Value{"flat": object("flat-7", 1), "deep": object("deep-7", map[string]any{"leaf": 1})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s := New(Config{Actor: here})
			seq := clock.Timestamp(1)
			for op := (Op{Verb: Patch, Key: "k", Value: whole}); b.Loop(); op.Value = patch {
				if _, err := s.Apply(seq, 0, op); err != nil {
					b.Fatal(err)
				}
				seq++
				s.Recycle(s.Changes())
			}
		})
	}
}

func BenchmarkJoin200(b *testing.B) {
	actors, secs := sections(b, 1024, 64, 16)
	s := New(Config{Actor: here})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%64 == 0 {
			sec := n / 64 % len(secs)
			if sec == 0 {
				b.StopTimer()
				s = New(Config{Actor: here})
				b.StartTimer()
			}
			r := wire.NewReader(secs[sec])
			if _, err := s.JoinSection(&r, actors, 1<<62); err != nil {
				b.Fatal(err)
			}
			s.Recycle(s.Changes())
		}
		n++
	}
}

func BenchmarkMergePlain(b *testing.B) {
	s := New(Config{Actor: here})
	st := s.intern(there)
	c := s.cellOf("tasks/1/state")
	recs := make([]*record, 1<<16)
	val := text(200).bytes()
	for i := range recs {
		recs[i] = newRecord(val)
		r := recs[i]
		r.cell, r.kind, r.actor = c, slotRegister, st.index
	}
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		r := recs[seq%uint64(len(recs))]
		seq++
		r.seq, r.stamp = seq, clock.Timestamp(seq)
		s.spanOf(st).Add(seq)
		s.merge(r, false)
		s.Recycle(s.Changes())
	}
}

func BenchmarkSetAddRemote(b *testing.B) {
	src := New(Config{Actor: there})
	var table ActorTable
	secs := make([][]byte, 20000)
	for i := range secs {
		v, _ := ValueOf(i)
		ds, _ := src.Apply(clock.Timestamp(i+1), 0, Op{Verb: Add, Key: "s", Values: []Value{v}})
		secs[i] = src.AppendSection(nil, &table, there, ds[0].Seq(), ds[0].Seq(), ds)
	}
	b.ReportAllocs()
	s, i := New(Config{Actor: here}), 0
	for b.Loop() {
		if i == len(secs) {
			s, i = New(Config{Actor: here}), 0
		}
		r := wire.NewReader(secs[i])
		if _, err := s.JoinSection(&r, table.Actors(), 1<<62); err != nil {
			b.Fatal(err)
		}
		s.Recycle(s.Changes())
		i++
	}
}

// This benchmark measures the memory of a key beyond the bytes of its name and value.
func BenchmarkMemoryPerKey(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := New(Config{Actor: here})
		v := text(200)
		name := 0
		for i := range n {
			key := fmt.Sprintf("task-sentinel/tasks/%013d/state", i)
			name = len(key)
			if _, err := s.Apply(clock.Timestamp(i+1), 0, Op{Verb: Put, Key: key, Value: v}); err != nil {
				b.Fatal(err)
			}
			s.Recycle(s.Changes())
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n-float64(name+len(v.raw)), "B/key")
		runtime.KeepAlive(s)
	}
}

func TestADeltaOverAKnownKeyCostsOneAllocation(t *testing.T) {
	actors, secs := sections(t, 64, 64, 12)
	s := New(Config{Actor: here})
	next := 0
	join := func() {
		r := wire.NewReader(secs[next])
		next++
		if _, err := s.JoinSection(&r, actors, 1<<62); err != nil {
			t.Fatal(err)
		}
		s.Recycle(s.Changes())
	}
	join()
	join()
	if n := testing.AllocsPerRun(8, join) / 64; n > 1.1 {
		t.Fatalf("%.2f allocations per delta", n)
	}
	next = 0
	if n := testing.AllocsPerRun(8, join); n > 1 {
		t.Fatalf("%.0f allocations for a section seen before", n)
	}
}

// A record must not outgrow its size class.
func TestARecordIs48Bytes(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 48 {
		t.Errorf("%d bytes", n)
	}
}
