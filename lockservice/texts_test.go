package lockservice

import (
	"fmt"
	"testing"
)

func TestTextsComeBackAsTheyWere(t *testing.T) {
	var known texts
	for range 2 {
		for i := range 10_000 {
			for _, want := range []string{fmt.Sprint(i), fmt.Sprintf("queues/mail/%012x", i), fmt.Sprintf("%d, and an end that is no different", i)} {
				if got := known.of([]byte(want)); got != want {
					t.Fatalf("%q came back as %q", want, got)
				}
			}
		}
	}
	b := []byte("a lock that is used again and again")
	if n := testing.AllocsPerRun(100, func() { known.of(b) }); n > 0 {
		t.Errorf("%v allocations for a text that is known", n)
	}
}
