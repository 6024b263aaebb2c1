package subject

import (
	"testing"
	"time"
)

func TestTurnsAreJudgedByWhoGotTooFewAndWaitedTooLong(t *testing.T) {
	const step = contendedSpan / (4 * contenders)
	var fair []turn
	for i := range 4 * contenders {
		got := time.Duration(i) * step
		fair = append(fair, turn{client: i % contenders, asked: max(got-(contenders-1)*step, 0), got: got, gaveBack: got + step/2})
	}
	q, err := judge(fair)
	if err != nil || q.least != 1 || q.longest > 1 || q.passed != contenders-1 {
		t.Errorf("in turn: least %v, longest %v, passed %d, %v", q.least, q.longest, q.passed, err)
	}
	if half := float64(step/2) / 1e3; q.handOver.Micros(50) < 0.99*half || q.handOver.Micros(50) > 1.01*half {
		t.Errorf("hand-over %v µs, want %v", q.handOver.Micros(50), half)
	}

	unfair := append([]turn(nil), fair...)
	for i := range unfair[:3*contenders] {
		if unfair[i].client == 7 { // it lets three turns go by
			unfair[i].client = 8
		}
	}
	unfair[3*contenders+7].asked = 0
	if q, err = judge(unfair); err != nil || q.least != 0.25 || q.longest < 3 {
		t.Errorf("one passed over: least %v, longest %v, %v", q.least, q.longest, err)
	}

	twice := append([]turn(nil), fair...)
	twice[5].got = twice[4].gaveBack - 1
	if _, err := judge(twice); err == nil {
		t.Error("two held it at a time, and nobody noticed")
	}
}
