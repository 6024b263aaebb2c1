package lockservice

import "time"

// MaxToken is the greatest fencing token. A JSON number holds it exactly.
const MaxToken = 1<<53 - 1

// birth is the time of token 0. Counted from here, microseconds fit MaxToken until the year 2305.
var birth = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// TokenAt returns the least token of wall time t: its microseconds since 2020.
func TokenAt(t time.Time) uint64 { return uint64(min(max(t.Sub(birth).Microseconds(), 1), MaxToken)) }

// TokenTime returns the wall time that a token stands for, on the clock of the owner that made it.
func TokenTime(token uint64) time.Time {
	return birth.Add(time.Duration(min(token, MaxToken)) * time.Microsecond)
}

// Time is a moment by one peer's clocks. Durations are measured on Mono, which
// must run on through suspend; Wall only makes tokens.
type Time struct {
	Mono time.Duration // time since a fixed moment of this process
	Wall uint64        // TokenAt of the wall clock
}

// tokens makes the tokens of one owner, each greater than all before it (O2).
type tokens struct{ last uint64 }

func (k *tokens) next(wall uint64) uint64 {
	k.last = max(k.last+1, wall)
	return k.last
}

// raise makes every later token exceed seen.
func (k *tokens) raise(seen uint64) { k.last = max(k.last, seen) }

// stretch returns how long a time of d on one clock may take on another, if each deviates from
// real time by up to ppm parts per million. It rounds up, since it decides how long records
// outlast leases (I4).
func stretch(d time.Duration, ppm int) time.Duration {
	fast, slow := time.Duration(2*ppm), time.Duration(1_000_000-ppm)
	return d + (d/slow+1)*fast
}
