package api

import (
	"testing"
	"time"
)

func TestADurationHasNoMoreThanMicroseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{1_899_847 * time.Microsecond: "1.899847s", 15 * time.Second: "15s", 1_500_000_400: "1.5s", -time.Millisecond: "-0.001s"} {
		if text, err := Duration(d).MarshalText(); err != nil || string(text) != want {
			t.Errorf("%v: %s, %v, want %s", d, text, err, want)
		}
	}
	for us := range 100_000 {
		if text, _ := Duration(time.Duration(us*37) * time.Microsecond).MarshalText(); len(text) > len("3.699963s") {
			t.Fatalf("%d: %s", us, text)
		}
	}
}
