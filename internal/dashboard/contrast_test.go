package dashboard

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// In both colour schemes, each text of the style sheet has a contrast of 4.5 to its background, and
// each line that has a meaning 3 (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	css := string(assets["app.css"].body)
	light, dark := palette(t, css[:strings.Index(css, "@media")]), palette(t, css[strings.Index(css, "@media"):])
	if len(light) < 15 || len(light) != len(dark) {
		t.Fatalf("%d colours in light, %d in dark", len(light), len(dark))
	}
	for scheme, colours := range map[string]map[string]float64{"light": light, "dark": dark} {
		f := func(least float64, front string, grounds ...string) {
			t.Helper()
			for _, ground := range grounds {
				x, y := colours[front], colours[ground]
				if ratio := (max(x, y) + .05) / (min(x, y) + .05); ratio < least {
					t.Errorf("%s: %s on %s: %.2f, want %.1f", scheme, front, ground, ratio, least)
				}
			}
		}
		all := []string{"ground", "sheet", "tint"}
		f(4.5, "ink", append(all, "bad-fill", "chart-fill")...)
		f(4.5, "dim", all...)
		f(4.5, "link", all...)
		f(4.5, "good", "good-fill", "ground", "sheet")
		f(4.5, "wait", "wait-fill", "ground", "sheet")
		f(4.5, "bad", "bad-fill", "ground", "sheet")
		f(3, "chart", "ground", "sheet", "tint", "chart-fill")
		for _, state := range []string{"good", "wait", "bad"} {
			f(3, state, "tint")
		}
	}
	if used := regexp.MustCompile(`(?:^|[;{\s])(?:color|fill|stroke):\s*#`).FindString(css); used != "" {
		t.Errorf("a colour beside the palette: %s", used)
	}
}

// palette reads the relative luminance of each colour.
func palette(t *testing.T, css string) map[string]float64 {
	t.Helper()
	block := css[strings.Index(css, ":root"):]
	block = block[:strings.Index(block, "}")]
	colours := make(map[string]float64)
	for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(block, -1) {
		n, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		linear := func(shift int) float64 {
			c := float64(n>>shift&0xff) / 255
			if c <= .04045 {
				return c / 12.92
			}
			return math.Pow((c+.055)/1.055, 2.4)
		}
		colours[m[1]] = .2126*linear(16) + .7152*linear(8) + .0722*linear(0)
	}
	return colours
}
