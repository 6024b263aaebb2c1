package subject

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/rival"
)

// lockPeers is three voters and a fourth peer that does not vote.
const lockPeers = 4

var voting = agent.Config{Locks: agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, FirstBoot: true}}

// taker takes a lock as the i-th client, and returns the function that releases it.
type taker func(ctx context.Context, client int, name string) (unlock func(context.Context) error, err error)

// takerOf returns a taker whose clients are spread over the peers.
func takerOf(peers ...*agent.Agent) taker {
	return func(ctx context.Context, client int, name string) (func(context.Context) error, error) {
		l, err := peers[client%len(peers)].Locks().Lock(ctx, name)
		if err != nil {
			return nil, err
		}
		return l.Unlock, nil
	}
}

// lockRival is another lock service. If the service cannot run here, take is nil and fault
// says why.
type lockRival struct {
	name  string
	take  taker
	fault error
	close func()
}

func (r lockRival) note() string {
	if r.fault == nil {
		return ""
	}
	return fmt.Sprintf("%s was not measured: %v", r.name, r.fault)
}

// lockRivals are redsync and etcd. Redsync is left out if there is no redis-server in the
// PATH.
type lockRivals struct{ redis, redlock, etcd lockRival }

func openLockRivals(ctx context.Context) lockRivals {
	redis := func(name string, n int) lockRival {
		r, err := rival.OpenRedis(ctx, n)
		if err != nil {
			return lockRival{name: name, fault: err, close: func() {}}
		}
		return lockRival{name: name, take: r.Lock, close: r.Close}
	}
	rs := lockRivals{redis: redis("redsync, one Redis", 1), redlock: redis("Redlock, three Redis", 3)}
	e, err := rival.OpenEtcd(ctx, contenders)
	if err != nil {
		rs.etcd = lockRival{name: "etcd", fault: err, close: func() {}}
	} else {
		rs.etcd = lockRival{name: "etcd", take: e.Lock, close: e.Close}
	}
	return rs
}

func (rs lockRivals) all() []lockRival { return []lockRival{rs.redis, rs.redlock, rs.etcd} }

func (rs lockRivals) close() {
	for _, r := range rs.all() {
		r.close()
	}
}

// Locks measures leases certified by three voters, sealed on the wire, beside redsync
// and etcd's mutex, whose traffic is plain and which do not wait for a disk.
func Locks(ctx context.Context) (rows []measure.Row, err error) {
	idle, err := idleLocks()
	if err != nil {
		return nil, err
	}
	peers, err := fleet.Open(ctx, lockPeers, voting)
	if err != nil {
		return nil, err
	}
	shut := func() error { return fleet.Close(peers) }
	defer func() { err = errors.Join(err, shut()) }()
	beside, err := lockBeside(ctx, peers)
	if err != nil {
		return nil, err
	}
	renewals, err := lockRenewals(ctx, peers[lockPeers-1])
	if err != nil {
		return nil, err
	}
	if err := shut(); err != nil {
		return nil, err
	}
	shut = func() error { return nil }
	failover, err := lockFailover(ctx)
	if err != nil {
		return nil, err
	}
	return append(append(append(beside, renewals), failover...), idle), nil
}

// lockBeside measures the lock operations that the rivals have too.
func lockBeside(ctx context.Context, peers []*agent.Agent) ([]measure.Row, error) {
	rivals := openLockRivals(ctx)
	defer rivals.close()
	alone, err := lockAlone(ctx, peers, rivals)
	if err != nil {
		return nil, err
	}
	flight, err := lockFlight(ctx, peers, rivals.redis)
	if err != nil {
		return nil, err
	}
	contended, err := lockContended(ctx, peers, rivals)
	if err != nil {
		return nil, err
	}
	return append(append(alone, flight), contended...), nil
}

// ownedNames returns the first n names whose queue a peer orders.
func ownedNames(ctx context.Context, p *agent.Agent, owner string, n int) ([]string, error) {
	var names []string
	for i := 0; len(names) < n; i++ {
		info, err := p.Locks().Inspect(ctx, key(i))
		if err != nil {
			return nil, err
		}
		if info.Owner == owner {
			names = append(names, key(i))
		}
	}
	return names, nil
}
