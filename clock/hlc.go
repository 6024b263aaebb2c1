package clock

import (
	"fmt"
	"time"
)

// Timestamp is a hybrid logical time: 48 bits of Unix milliseconds above 16 bits
// of counter. Timestamps compare as integers.
type Timestamp uint64

// TimestampAt returns the Timestamp of t with counter 0.
func TimestampAt(t time.Time) Timestamp {
	return Timestamp(min(uint64(max(t.UnixMilli(), 0)), maxMillis) << 16)
}

// Millis returns the Unix milliseconds of t.
func (t Timestamp) Millis() uint64 { return uint64(t) >> 16 }

// Counter returns the logical part of t.
func (t Timestamp) Counter() uint16 { return uint16(t) }

// Time returns t without its counter.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t.Millis())).UTC() }

// String returns t as UTC time with its counter: 2026-01-02T03:04:05.678Z+9.
func (t Timestamp) String() string {
	return fmt.Sprintf("%s+%d", t.Time().Format("2006-01-02T15:04:05.000Z"), t.Counter())
}

// HLC is a hybrid logical clock. It is a value machine: the wall clock is an
// argument. The zero HLC is ready to use.
type HLC struct{ last Timestamp }

// Last returns the greatest timestamp issued or observed, 0 if there is none.
func (h *HLC) Last() Timestamp { return h.last }

// Next returns what Now would return and changes nothing. It never wraps around: from the
// greatest Timestamp on it returns that one.
func (h *HLC) Next(now time.Time) Timestamp { return max(TimestampAt(now), h.last, h.last+1) }

// Now returns a timestamp greater than all before it: the wall clock if that is
// ahead, else the last one plus one.
func (h *HLC) Now(now time.Time) Timestamp {
	h.last = h.Next(now)
	return h.last
}

// Observe makes every later result of Now greater than remote. The caller bounds how far
// remote may be ahead of its clock, since h never goes back. A reading of the wall clock
// moves h only when Now is called, so a wrong clock that is set right before the first
// write does no harm.
func (h *HLC) Observe(remote Timestamp) { h.last = max(h.last, remote) }
