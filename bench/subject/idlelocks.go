package subject

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// idleNames is the number of locks that were held once: the greatest number that a voter
// keeps apart. With more, a voter folds its records of idle locks, and each takes less
// memory.
const idleNames = 50_000

// idleLocks measures the memory of a lock that no client holds any more, at a voter.
func idleLocks() (measure.Row, error) {
	open := func(name string, boot byte) (*lockservice.Node, error) {
		n, err := lockservice.New(lockservice.Config{Self: name, Boot: [16]byte{boot}, FirstBoot: true,
			Voters: lockservice.Voters{Names: []string{"voter"}}}, lockservice.Time{})
		if err == nil {
			n.SetLive(lockservice.Time{}, []string{"client", "voter"})
		}
		return n, err
	}
	voter, err := open("voter", 1)
	if err != nil {
		return measure.Row{}, err
	}
	client, err := open("client", 2)
	if err != nil {
		return measure.Row{}, err
	}
	// exchange carries packets until there are none, and returns how many calls ended as
	// expected.
	exchange := func(t lockservice.Time, want lockservice.Event) error {
		for {
			asked, answered := client.Ready(t), voter.Ready(t)
			for _, r := range asked.Results {
				if r.Event == want {
					return nil
				}
			}
			if len(asked.Packets)+len(answered.Packets) == 0 {
				return fmt.Errorf("idle locks: a call ended without event %d", want)
			}
			for _, p := range asked.Packets {
				if err := voter.Receive(t, "client", p.Bytes); err != nil {
					return err
				}
			}
			for _, p := range answered.Packets {
				if err := client.Receive(t, "voter", p.Bytes); err != nil {
					return err
				}
			}
		}
	}
	before := measure.Heap()
	for i := range idleNames {
		t := lockservice.Time{Mono: time.Duration(i), Wall: uint64(i + 1)}
		id, err := client.Acquire(t, lockservice.Call{Lock: key(i), TTL: 10 * time.Second})
		if err != nil {
			return measure.Row{}, err
		}
		if err := exchange(t, lockservice.Acquired); err != nil {
			return measure.Row{}, err
		}
		if err := client.Release(t, id); err != nil {
			return measure.Row{}, err
		}
		if err := exchange(t, lockservice.Left); err != nil {
			return measure.Row{}, err
		}
	}
	kept := float64(measure.Heap()-before) / idleNames
	runtime.KeepAlive(voter)
	runtime.KeepAlive(client)
	return measure.Row{What: "memory of an idle lock at a voter", Unit: "B", Measured: kept, Goal: 300,
		Note: fmt.Sprintf("%d names of %d B; of its own queue and its client's, too", idleNames, len(key(0)))}, nil
}
