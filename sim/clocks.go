package sim

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// clocks are the two clocks of a peer: the wall clock makes stamps, and the boot clock
// (monotonic, as CLOCK_BOOTTIME) measures leases.
type clocks struct {
	c      *Cluster
	index  int           // the peer's position in Cluster.peers
	clock  Clock         // the errors of both clocks
	frozen time.Duration // the time of the run when the boot clock stopped; 0: it runs
}

// wall returns the time by the peer's wall clock.
func (k *clocks) wall() time.Time {
	drift := time.Duration(float64(k.c.now) * k.clock.Drift / 1e6)
	return epoch.Add(k.c.now + drift + k.clock.Skew)
}

func (k *clocks) millis() uint64 { return uint64(k.wall().UnixMilli()) }

// when converts a time of the peer's wall clock to the time of the run. With drift the
// result is rounded up, so that the peer's clock shows t or later.
func (k *clocks) when(t time.Time) time.Duration {
	d := t.Sub(epoch) - k.clock.Skew
	if k.clock.Drift == 0 {
		return d
	}
	return time.Duration(float64(d)/(1+k.clock.Drift/1e6)) + time.Microsecond
}

// boot returns the reading of the peer's boot clock at a time of the run. The boot clocks
// of two peers are hours apart, so that a reading used at the wrong peer shows.
func (k *clocks) boot(at time.Duration) time.Duration {
	if k.frozen > 0 {
		at = min(at, k.frozen)
	}
	return time.Duration(k.index)*time.Hour + at + at/1000*time.Duration(k.clock.Boot)/1000
}

// whenBoot returns the first time of the run at which the boot clock reads mono or more.
func (k *clocks) whenBoot(mono time.Duration) time.Duration {
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

// lockTime returns both readings in the form that the lock machine takes.
func (k *clocks) lockTime() lockservice.Time {
	return lockservice.Time{Mono: k.boot(k.c.now), Wall: lockservice.TokenAt(k.wall())}
}
