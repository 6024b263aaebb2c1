package measure

import (
	"strings"
	"testing"
	"time"
)

func TestAGoalBoundsTheMeasurementOrTheRatioFromTheRightSide(t *testing.T) {
	for _, c := range []struct {
		name string
		row  Row
		met  bool
	}{
		{"no goal", Row{Measured: 9}, true},
		{"under a ceiling", Row{Measured: 9, Goal: 10}, true},
		{"over a ceiling", Row{Measured: 11, Goal: 10}, false},
		{"over a floor", Row{Measured: 11, Goal: 10, AtLeast: true}, true},
		{"under a floor", Row{Measured: 9, Goal: 10, AtLeast: true}, false},
		{"ratio under a ceiling", Row{Measured: 20, Reference: 10, Goal: 2.5, OfRatio: true}, true},
		{"ratio over a ceiling", Row{Measured: 30, Reference: 10, Goal: 2.5, OfRatio: true}, false},
	} {
		if got := c.row.Met(); got != c.met {
			t.Errorf("%s: met is %t", c.name, got)
		}
		var b strings.Builder
		if missed := Print(&b, []Row{c.row}); (missed == 0) != c.met || strings.Contains(b.String(), "FAIL") == c.met {
			t.Errorf("%s: %d missed:\n%s", c.name, missed, b.String())
		}
	}
}

func TestLatencyKeepsThreeDigitsAndCountsTheEndlessAsAMinute(t *testing.T) {
	l := NewLatency()
	for i := range 1000 {
		l.Add(time.Duration(i+1) * time.Microsecond)
	}
	if p50, p99 := l.Micros(50), l.Micros(99); p50 < 499 || p50 > 502 || p99 < 989 || p99 > 992 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	sum := NewLatency()
	sum.Merge(l)
	if sum.Merge(l); sum.Count() != 2000 || sum.Micros(50) != l.Micros(50) {
		t.Errorf("merged twice: %d durations, p50 %v", sum.Count(), sum.Micros(50))
	}
	l.Add(time.Hour)
	if top := l.Micros(100); l.Count() != 1001 || top < 59e6 || top > 61e6 {
		t.Errorf("%d durations up to %v µs", l.Count(), top)
	}
}

func TestTheProcessAndTheLoopbackInterfaceCanBeRead(t *testing.T) {
	if _, err := CPU(); err != nil {
		t.Error(err)
	}
	if rss, err := PeakRSS(); err != nil || rss < 1<<20 {
		t.Errorf("peak %d, %v", rss, err)
	}
	if _, err := Loopback(); err != nil {
		t.Error(err)
	}
}
