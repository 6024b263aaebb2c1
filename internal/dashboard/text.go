package dashboard

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// count writes a number with thin spaces between thousands.
func count[N int | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// ago writes a duration with about two digits.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// size writes a number of bytes.
func size(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// rate writes a rate per second.
func rate(perSecond float64) string {
	if perSecond >= 100 {
		return count(int(perSecond + 0.5))
	}
	return strconv.FormatFloat(perSecond, 'f', 1, 64)
}

// plural writes a number and its noun.
func plural[N int | uint64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return count(n) + " " + noun
}

// glance is how many bytes of a value a row shows.
const glance = 120

// preview returns the text that a row shows of a value. A large value is not encoded for it.
func preview(v crdt.Value) string {
	if v.IsZero() {
		return "nothing"
	}
	if n := len(v.Raw()); n > 16*glance {
		return "(" + size(n) + ")"
	}
	return cut(v.String(), glance)
}

// cut shortens a text to n bytes, without halving a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
