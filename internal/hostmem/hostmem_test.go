package hostmem

import (
	"errors"
	"math"
	"testing"
)

func TestTheLeastLimitCounts(t *testing.T) {
	for _, c := range []struct{ group, machine, want int }{{0, 0, 0}, {0, 8, 8}, {8, 0, 8}, {4, 8, 4}, {8, 4, 4}} {
		if got := (Limits{c.group, c.machine}).Least(); got != c.want {
			t.Errorf("group %d, machine %d: least %d, want %d", c.group, c.machine, got, c.want)
		}
	}
}

func TestALimitThatIsNotKnownIsZero(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		err   error
		want  int
	}{{5, nil, 5}, {5, errors.ErrUnsupported, 0}, {math.MaxUint64, nil, 0}} {
		if got := known(func() (uint64, error) { return c.limit, c.err }); got != c.want {
			t.Errorf("%d, %v: %d, want %d", c.limit, c.err, got, c.want)
		}
	}
}

func TestThisMachineTells(t *testing.T) {
	if got := Read(); got.Machine == 0 {
		t.Skipf("this system does not tell: %+v", got)
	}
}
