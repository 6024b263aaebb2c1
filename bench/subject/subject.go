package subject

import (
	"context"
	"fmt"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

// Subject is one measurement, with the function that returns its rows.
type Subject struct {
	Name string
	Run  func(context.Context) ([]measure.Row, error)
}

// All lists the subjects in the order of the table.
var All = []Subject{
	{"visible", Visible},
	{"sustained", Sustained},
	{"get", Get},
	{"put", Put},
	{"merge", Merge},
	{"memory", Memory},
	{"setadd", SetAdd},
	{"idle", Idle},
	{"locks", Locks},
	{"queue", Queue},
}

// value is the value of every write: 200 bytes.
var value = strings.Repeat("v", 200)

// key returns the i-th key, 39 bytes long.
func key(i int) string { return fmt.Sprintf("task-sentinel/bench/worker/%012d", i) }

func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = key(i)
	}
	return out
}
