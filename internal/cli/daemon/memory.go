package daemon

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memorySize is a flag with a number of bytes, such as 512MiB, 2GiB or a plain number; 0 is the
// default. No library is used: each value must be printed so that it is read back exactly, and
// those for sizes round.
type memorySize int

var units = []struct {
	suffix string
	bytes  float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}

func (m *memorySize) Set(text string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) {
			break
		}
		if n*u.bytes >= math.MaxInt {
			return fmt.Errorf("%q is more than any machine has: want less than %d bytes", text, math.MaxInt)
		}
		*m = memorySize(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: want bytes, or KiB, MiB, GiB or TiB, as in 512MiB", text)
}

func (m *memorySize) String() string {
	if *m == 0 {
		return "0"
	}
	for _, u := range []int{3, 2, 1, 0} {
		if size := int(units[u].bytes); int(*m)%size == 0 {
			return strconv.Itoa(int(*m)/size) + units[u].suffix
		}
	}
	return strconv.Itoa(int(*m)) + "B"
}

func (*memorySize) Type() string { return "bytes" }

// limitHeap sets the heap's soft limit to 90 % of the bytes that the control group allows, so
// that the garbage collector works harder near it: the kernel kills a process that goes beyond.
// A limit that the user has set in $GOMEMLIMIT stays.
func limitHeap(logger *slog.Logger, group int) {
	if group == 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(group) / 10 * 9
	debug.SetMemoryLimit(limit)
	logger.Info("memory is limited by the control group", "bytes", group, "gomemlimit", limit)
}
