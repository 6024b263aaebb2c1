package simulate

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/sentinel-peer/sentinel-peer/sim"
)

// spreadWrites is how many writes a row of the table is measured with, by the number of peers.
var spreadWrites = []struct{ peers, writes int }{{3, 1000}, {50, 1000}, {500, 100}}

// spread prints how long a write takes to reach the last peer, beside memberlist's broadcast
// queue. It fails if a goal is missed.
func (s *simulate) spread() error {
	var rows []sim.Spread
	missed := 0
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if s.format == "text" {
		fmt.Fprintln(s.out, "Time until the last peer has a write of 200 B, and copies sent for each one needed:")
		fmt.Fprintln(table, "\npeers\tlost\twrites\there p50\tp99\tgoal\tcopies\tqueue p50\tp99\tcopies\t")
	}
	for _, size := range spreadWrites {
		for _, loss := range []float64{0, 0.05, 0.2} {
			row, err := sim.MeasureSpread(s.seed, size.peers, loss, size.writes)
			if err != nil {
				return err
			}
			if rows = append(rows, row); row.Here.P99 > row.Goal {
				missed++
			}
			if s.format == "text" {
				ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
				fmt.Fprintf(table, "%d\t%.0f %%\t%d\t%s\t%s\t%s\t%.2f\t%s\t%s\t%.2f\t\n", row.Peers, 100*row.Loss, row.Writes,
					ms(row.Here.P50), ms(row.Here.P99), ms(row.Goal), row.Here.Copies, ms(row.Queue.P50), ms(row.Queue.P99), row.Queue.Copies)
			}
		}
	}
	if s.format == "json" {
		if err := json.NewEncoder(s.out).Encode(rows); err != nil {
			return err
		}
	} else if err := table.Flush(); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d goals missed", missed, len(rows))
	}
	return nil
}
