package sim

import (
	"fmt"
	"testing"
)

// A write reaches every peer within the goals, and long before memberlist's broadcast queue
// would.
func TestAWriteSpreadsWithinTheGoals(t *testing.T) {
	for _, peers := range []int{3, 50, 500} {
		for _, loss := range []float64{0, 0.05, 0.2} {
			writes := map[int]int{3: 1000, 50: 300, 500: 20}[peers]
			t.Run(fmt.Sprintf("%d-peers-%.0f%%-lost", peers, 100*loss), func(t *testing.T) {
				if testing.Short() && peers > 50 {
					t.Skip("takes seconds")
				}
				t.Parallel()
				s, err := MeasureSpread(1, peers, loss, writes)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%+v", s)
				if s.Here.P99 > s.Goal {
					t.Errorf("p99 is %v, the goal %v", s.Here.P99, s.Goal)
				}
				if s.Here.P99*2 > s.Queue.P99 {
					t.Errorf("p99 is %v, that of a broadcast queue %v", s.Here.P99, s.Queue.P99)
				}
			})
		}
	}
}
