package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A store that fills up is told of at four fifths, once until there is room again.
func TestAStoreThatFillsUpIsNoticedOnce(t *testing.T) {
	const limit = 1 << 20
	r := newWorld(t, 2, 1, func(c *Config) { c.MaxBytes = limit }).peers[0]
	now := epoch
	for _, step := range []struct{ size, told int }{{5000, 0}, {9000, 1}, {9000, 0}, {100, 0}, {9000, 1}} {
		for i := range 100 {
			v, err := crdt.ValueOf(strings.Repeat("x", step.size))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Write(now, false, crdt.Op{Verb: crdt.Put, Key: fmt.Sprint("k", i), Value: v}); err != nil {
				t.Fatal(err)
			}
		}
		told := 0
		for range 10 {
			now = now.Add(time.Second)
			r.Tick(now)
			for _, n := range r.Ready().Notices {
				if n.Problem == Filling && strings.Contains(n.Detail, fmt.Sprint("of ", limit)) {
					told++
				}
			}
		}
		if told != step.told {
			t.Errorf("with values of %d B: told %d times at %d of %d, want %d", step.size, told, r.Store().Memory(), limit, step.told)
		}
	}
}
