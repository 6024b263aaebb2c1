package hostmem

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Limits are the limits of this process in bytes. A limit is 0 if there is none or it is not known.
type Limits struct {
	Group   int // the least limit of the control groups that contain this process; known on Linux only
	Machine int // the memory of the machine
}

// Least returns the lower of the limits, 0 if there is none.
func (l Limits) Least() int {
	if l.Group > 0 && (l.Machine == 0 || l.Group < l.Machine) {
		return l.Group
	}
	return l.Machine
}

// Read returns the present limits.
func Read() Limits {
	return Limits{Group: known(memlimit.FromCgroup), Machine: known(memlimit.FromSystem)}
}

// known returns the limit of a provider, 0 if it knows none.
func known(limit memlimit.Provider) int {
	n, err := limit()
	if err != nil || n > math.MaxInt {
		return 0
	}
	return int(n)
}
