package sim

import (
	"strings"
	"testing"
	"time"
)

// Each oracle of subscribers reports the fault that it is there for.
func TestTheOraclesOfReadersComplain(t *testing.T) {
	f := func(oracle string, spoil func(r *reader)) {
		t.Helper()
		c, err := New(Config{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []string{"1 put a 1", "1 watch 4 1ms", "run 1s", "1 put a 2", "run 1s"} {
			if err := c.Do(step); err != nil {
				t.Fatal(err)
			}
		}
		r := c.Peer(1).readers[0]
		if !r.exact || len(r.holds) != 1 {
			t.Fatalf("it holds %v", r.holds)
		}
		spoil(r)
		c.Settle()
		for _, v := range c.Violations() {
			if strings.HasPrefix(v, oracle) {
				return
			}
		}
		t.Errorf("%s did not complain: %v", oracle, c.Violations())
	}
	f("R1", func(r *reader) {
		r.holds["a"] = "another"
		if err := r.p.c.Do("1 put a 3"); err != nil {
			t.Fatal(err)
		}
	})
	f("R2", func(r *reader) {
		for i := range 9 { // one more than the queue takes
			if err := r.p.c.Do("1 put a " + string(rune('0'+i))); err != nil {
				t.Fatal(err)
			}
		}
		r.queue.Next() // the change is lost, and the reader is not notified
		r.exact = false
		r.p.c.Run(time.Second)
	})
}
