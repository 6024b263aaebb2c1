package crdttest_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/crdt/crdttest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most checks here fail on purpose, so rapid must not write files for their failures.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// recorder is a TB that may fail without failing the test that uses it.
type recorder struct {
	crdttest.TB
	said   strings.Builder
	failed bool
}

func (r *recorder) Helper()                      {}
func (r *recorder) Name() string                 { return "recorder" }
func (r *recorder) Logf(f string, args ...any)   { fmt.Fprintf(&r.said, f+"\n", args...) }
func (r *recorder) Log(args ...any)              { fmt.Fprintln(&r.said, args...) }
func (r *recorder) Errorf(f string, args ...any) { r.Logf(f, args...); r.failed = true }
func (r *recorder) Error(args ...any)            { r.Log(args...); r.failed = true }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)            { r.Error(args...); runtime.Goexit() }
func (r *recorder) FailNow()                     { r.failed = true; runtime.Goexit() }
func (r *recorder) Fail()                        { r.failed = true }
func (r *recorder) Failed() bool                 { return r.failed }
func (r *recorder) verdict() (bool, string)      { return r.failed, r.said.String() }
func record(check func(t crdttest.TB)) *recorder {
	r := new(recorder)
	done := make(chan struct{})
	go func() { // Fatal ends the goroutine it is called on
		defer close(done)
		check(r)
	}()
	<-done
	return r
}

// longest is a correct resolver. It returns the longest string, and of equally long strings
// the one with the greatest dot.
func longest(siblings []crdt.Sibling) (crdt.Value, error) {
	best := crdt.Value{}
	length := -1
	for _, s := range siblings {
		text, ok := s.Value.Any().(string)
		if !ok {
			return crdt.Value{}, errors.New("want strings")
		}
		if len(text) >= length {
			best, length = s.Value, len(text)
		}
	}
	return best, nil
}

func TestHonestResolversPass(t *testing.T) {
	crdttest.CheckResolver(t, longest, nil)
	crdttest.CheckResolver(t, longest, rapid.Map(rapid.StringN(0, 4, -1), func(s string) any { return s }))
	crdttest.CheckResolver(t, func(s []crdt.Sibling) (crdt.Value, error) { // the resolver gets a copy that it may change
		slices.Reverse(s)
		first := s[0].Value
		clear(s)
		return first, nil
	}, nil)
}

func TestDishonestResolversAreFound(t *testing.T) {
	f := func(fault, says string, resolve crdt.Resolver) {
		t.Helper()
		if failed, said := record(func(t crdttest.TB) { crdttest.CheckResolver(t, resolve, nil) }).verdict(); !failed || !strings.Contains(said, says) {
			t.Errorf("a resolver that %s passes, or fails without saying %q:\n%s", fault, says, said)
		}
	}
	calls := 0
	f("counts its calls", "depends on more than them", func(s []crdt.Sibling) (crdt.Value, error) {
		calls++
		return crdt.ValueOf(calls)
	})
	f("reads the clock", "depends on more than them", func(s []crdt.Sibling) (crdt.Value, error) {
		return crdt.ValueOf(time.Now().UnixNano())
	})
	f("iterates over a map", "depends on more than them", func(s []crdt.Sibling) (crdt.Value, error) {
		votes := make(map[crdt.Value]int)
		for _, sibling := range s {
			votes[sibling.Value]++
		}
		var best crdt.Value
		most := 0
		for v, n := range votes {
			if n > most {
				best, most = v, n
			}
		}
		return best, nil
	})
	f("remembers what it saw last", "depends on more than them", func() crdt.Resolver {
		var last crdt.Value
		return func(s []crdt.Sibling) (crdt.Value, error) {
			v := cmp.Or(last, s[0].Value)
			last = s[0].Value
			return v, nil
		}
	}())
	f("panics", "panicked with runtime error", func(s []crdt.Sibling) (crdt.Value, error) {
		return s[4].Value, nil
	})
	f("fails now and then", "depends on more than them", func(s []crdt.Sibling) (crdt.Value, error) {
		if calls++; calls%3 == 0 {
			return crdt.Value{}, errors.New("busy")
		}
		return s[0].Value, nil
	})
}

// gset is a grow-only set of small numbers, for which union is a join.
type gset map[int]bool

func union(a, b gset) gset {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

func (s gset) encode() []byte {
	var b []byte
	for _, n := range slices.Sorted(maps.Keys(s)) {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func gsets() *rapid.Generator[gset] {
	return rapid.Map(rapid.SliceOfN(rapid.IntRange(0, 9), 0, 5), func(list []int) gset {
		s := make(gset)
		for _, n := range list {
			s[n] = true
		}
		return s
	})
}

func TestHonestJoinsPass(t *testing.T) {
	crdttest.CheckJoin(t, gsets(), union, gset.encode)
	crdttest.CheckJoin(t, rapid.Int64(), func(a, b int64) int64 { return max(a, b) }, encodeInt)
}

func encodeInt(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// stamped is a value with the time of its write.
type stamped struct {
	at    int
	value string
}

func (s stamped) encode() []byte { return fmt.Appendf(nil, "%d %s", s.at, s.value) }

func TestFalseJoinsAreFound(t *testing.T) {
	f := func(fault, says string, check func(t crdttest.TB)) {
		t.Helper()
		if failed, said := record(check).verdict(); !failed || !strings.Contains(said, says) {
			t.Errorf("a join that %s passes, or fails without saying %q:\n%s", fault, says, said)
		}
	}
	ints := rapid.Int64Range(-50, 50)
	f("adds", "not idempotent", func(t crdttest.TB) {
		crdttest.CheckJoin(t, ints, func(a, b int64) int64 { return a + b }, encodeInt)
	})
	f("keeps the first", "not commutative", func(t crdttest.TB) {
		crdttest.CheckJoin(t, ints, func(a, b int64) int64 { return a }, encodeInt)
	})
	f("takes the middle", "not associative", func(t crdttest.TB) {
		crdttest.CheckJoin(t, ints, func(a, b int64) int64 { return int64(math.Floor(float64(a+b) / 2)) }, encodeInt)
	})
	f("leaves ties to the order of arguments", "not commutative", func(t crdttest.TB) {
		writes := rapid.Custom(func(t *rapid.T) stamped {
			return stamped{rapid.IntRange(0, 1).Draw(t, "at"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")}
		})
		crdttest.CheckJoin(t, writes, func(a, b stamped) stamped {
			if cmp.Compare(a.at, b.at) >= 0 {
				return a
			}
			return b
		}, stamped.encode)
	})
	f("writes into its argument", "a join changed", func(t crdttest.TB) {
		crdttest.CheckJoin(t, gsets(), func(a, b gset) gset {
			maps.Copy(a, b)
			return a
		}, gset.encode)
	})
	f("hands out its argument and later writes into it", "a join changed", func(t crdttest.TB) {
		masks := rapid.Map(rapid.SliceOfN(rapid.Byte(), 2, 2), bytes.Clone)
		crdttest.CheckJoin(t, masks, func(a, b []byte) []byte {
			if bytes.Equal(a, b) {
				return a
			}
			for i := range b {
				b[i] |= a[i]
			}
			return b
		}, func(b []byte) []byte { return b })
	})
	f("draws lots", "not", func(t crdttest.TB) {
		n := 0
		crdttest.CheckJoin(t, ints, func(a, b int64) int64 { n++; return max(a, b) + int64(n%2) }, encodeInt)
	})
}
