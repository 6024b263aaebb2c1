package sim

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// clocks are what a peer tells the time by: one for stamps and one for durations.
type clocks struct {
	c      *Cluster
	index  int // of the peer
	clock  Clock
	frozen time.Duration // since when the one for durations stands still
}

// wall is what the peer takes for the time.
func (k *clocks) wall() time.Time {
	drift := time.Duration(float64(k.c.now) * k.clock.Drift / 1e6)
	return epoch.Add(k.c.now + drift + k.clock.Skew)
}

func (k *clocks) millis() uint64 { return uint64(k.wall().UnixMilli()) }

// when turns the peer's time into the world's.
func (k *clocks) when(t time.Time) time.Duration {
	d := t.Sub(epoch) - k.clock.Skew
	if k.clock.Drift == 0 {
		return d
	}
	return time.Duration(float64(d)/(1+k.clock.Drift/1e6)) + time.Microsecond // not before it
}

// boot is what the clock says that durations are measured by.
func (k *clocks) boot(at time.Duration) time.Duration {
	if k.frozen > 0 {
		at = min(at, k.frozen)
	}
	return time.Duration(k.index)*time.Hour + at + at/1000*time.Duration(k.clock.Boot)/1000
}

// booted is the first moment when that clock says mono.
func (k *clocks) booted(mono time.Duration) time.Duration {
	at := mono - time.Duration(k.index)*time.Hour
	at -= at / 1000 * time.Duration(k.clock.Boot) / time.Duration(1_000_000+k.clock.Boot) * 1000
	for k.boot(at) >= mono && at > 0 {
		at -= time.Microsecond
	}
	for k.boot(at) < mono {
		at += time.Microsecond
	}
	return at
}

func (k *clocks) lockTime() lockservice.Time {
	return lockservice.Time{Mono: k.boot(k.c.now), Wall: lockservice.TokenAt(k.wall())}
}
