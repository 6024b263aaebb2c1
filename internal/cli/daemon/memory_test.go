package daemon

import (
	"log/slog"
	"runtime/debug"
	"testing"
)

func TestASizeIsReadAndShown(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "1048576": 1 << 20, "512MiB": 512 << 20, "1.5GiB": 3 << 29, "2 KiB": 2048, "7B": 7, "1TiB": 1 << 40} {
		var m, again memorySize
		if err := m.Set(text); err != nil || int(m) != want {
			t.Errorf("%q: %d, %v; want %d", text, m, err, want)
		}
		if err := again.Set(m.String()); err != nil || again != m {
			t.Errorf("%q is shown as %q, which is %d: %v", text, m.String(), again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1MB", "1e300", "NaN", "half"} {
		if err := new(memorySize).Set(text); err == nil {
			t.Errorf("%q is taken for a size", text)
		}
	}
}

// The heap stays below the limit of the control group, unless the user has set GOMEMLIMIT.
func TestTheHeapIsLimitedByTheControlGroup(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, c := range []struct {
		said        string
		group, want int
	}{{"", 0, int(before)}, {"2GiB", 4 << 30, int(before)}, {"", 10 << 30, 9 << 30}} {
		t.Setenv("GOMEMLIMIT", c.said)
		limitHeap(slog.New(slog.DiscardHandler), c.group)
		if got := int(debug.SetMemoryLimit(-1)); got != c.want {
			t.Errorf("GOMEMLIMIT=%s and a group of %d bytes: %d, want %d", c.said, c.group, got, c.want)
		}
	}
}
