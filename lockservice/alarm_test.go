package lockservice

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAlarmsComeInOrderHoweverTheyAreSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h alarms
	list := make([]alarm, 300)
	due := make(map[int]time.Duration) // due time of each alarm that is set
	now, last := time.Duration(0), time.Duration(0)
	for i := range list {
		list[i].run = func(Time) {
			at, set := due[i]
			if !set || at > now || at < last {
				t.Errorf("alarm %d came at %v, after one of %v; set %t, for %v", i, now, last, set, at)
			}
			last = at
			delete(due, i)
		}
	}
	for range 20_000 {
		i := rng.IntN(len(list))
		switch rng.IntN(5) {
		case 0:
			h.stop(&list[i])
			delete(due, i)
		case 1:
			now += time.Duration(rng.IntN(20))
			last = 0
			h.fire(Time{Mono: now})
		default:
			due[i] = now + time.Duration(rng.IntN(500))
			h.set(&list[i], due[i])
		}
		least, any := h.next()
		if any != (len(due) > 0) {
			t.Fatalf("next says %t of %d", any, len(due))
		}
		for i, at := range due {
			if at < least {
				t.Fatalf("alarm %d is due at %v, before the next at %v", i, at, least)
			}
		}
	}
}
