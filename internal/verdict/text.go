package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// plural writes a number and its noun.
func plural(n int, noun string) string {
	if n != 1 && !strings.HasSuffix(noun, "B") {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// size writes a number of bytes in the greatest unit of which there are ten or more.
func size(n int) string {
	switch {
	case n < 10<<10:
		return plural(n, "B")
	case n < 10<<20:
		return plural(n>>10, "KiB")
	}
	return plural(n>>20, "MiB")
}

// are returns the verb for a list of names: is or are.
func are(names []string) string {
	if len(names) == 1 {
		return "is"
	}
	return "are"
}

// list writes the first few names as a part of a sentence.
func list(names []string) string {
	const most = 3
	switch n := len(names); {
	case n > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n-most)
	case n > 1:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// text writes the number of the things, and those of their names that are known.
func (n Names) text(noun string) string {
	if len(n.Names) == 0 {
		return plural(n.Count, noun)
	}
	return plural(n.Count, noun) + " (" + list(n.Names) + ")"
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

// ago writes a duration with about two digits.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "a second"
	case d < 2*time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < 2*time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}
