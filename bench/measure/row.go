package measure

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Row is one line of the table: a measurement beside a goal and a reference of the same
// run.
type Row struct {
	What      string
	Unit      string
	Measured  float64
	Goal      float64 // 0: none, the row informs
	AtLeast   bool    // Goal is a floor; otherwise a ceiling
	OfRatio   bool    // Goal bounds Ratio, not Measured
	Reference float64 // 0: none
	Against   string  // what Reference measured
	Note      string
}

// Ratio returns Measured divided by Reference, or 0 without a reference.
func (r Row) Ratio() float64 {
	if r.Reference == 0 {
		return 0
	}
	return r.Measured / r.Reference
}

// Met reports whether the goal is reached; a row without one always is.
func (r Row) Met() bool {
	got := r.Measured
	if r.OfRatio {
		got = r.Ratio()
	}
	switch {
	case r.Goal == 0:
		return true
	case r.AtLeast:
		return got >= r.Goal
	}
	return got <= r.Goal
}

// Print writes rows as a table and returns how many missed their goal.
func Print(w io.Writer, rows []Row) (missed int) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tGOAL\tMEASURED\tREFERENCE\tRATIO\tRESULT\tNOTE")
	for _, r := range rows {
		goal, ref, ratio, result := "-", "-", "-", "-"
		if r.Goal != 0 {
			sign, unit := "≤", r.Unit
			if r.AtLeast {
				sign = "≥"
			}
			if r.OfRatio {
				unit = "× reference"
			}
			goal = fmt.Sprintf("%s %s %s", sign, number(r.Goal), unit)
			result = "pass"
			if !r.Met() {
				result, missed = "FAIL", missed+1
			}
		}
		if r.Reference != 0 {
			ref = fmt.Sprintf("%s %s (%s)", number(r.Reference), r.Unit, r.Against)
			ratio = fmt.Sprintf("%.3g", r.Ratio())
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\t%s\t%s\t%s\n", r.What, goal, number(r.Measured), r.Unit, ref, ratio, result, r.Note)
	}
	t.Flush()
	return missed
}

func number(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
