package main

import "testing"

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
