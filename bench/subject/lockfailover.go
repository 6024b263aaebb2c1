package subject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	failovers     = 2
	failoverNames = 4 // of each kind
	failoverLimit = 30 * time.Second
)

// failover has the times until locks moved after the voter that ordered their queues had
// failed without a goodbye.
type failover struct {
	detected time.Duration // since it was gone, until the last of the others saw it
	waiter   time.Duration // from then: the last grant of locks with a holder and a waiter
	newcomer time.Duration // and of locks that were free, by then
	unseen   time.Duration // a lock asked for before anybody saw it, from asking
}

// lockFailover measures fleets of which one voter falls silent at once.
func lockFailover(ctx context.Context) ([]measure.Row, error) {
	var worst failover
	for range failovers {
		f, err := failOver(ctx)
		if err != nil {
			return nil, err
		}
		worst.detected, worst.unseen = max(worst.detected, f.detected), max(worst.unseen, f.unseen)
		worst.waiter, worst.newcomer = max(worst.waiter, f.waiter), max(worst.newcomer, f.newcomer)
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	note := fmt.Sprintf("the last of %d locks, the worse of %d times; since the last peer saw it, up to %.1f s after", failoverNames, failovers, worst.detected.Seconds())
	return []measure.Row{
		{What: "owner dead: next grant to who waits", Unit: "ms", Measured: ms(worst.waiter), Goal: 5, Note: note},
		{What: "owner dead: next grant to who asks then", Unit: "ms", Measured: ms(worst.newcomer), Goal: 5, Note: note},
		{What: "owner dead, nobody has seen it: lock", Unit: "ms", Measured: ms(worst.unseen), Note: "from asking"},
	}, nil
}

func failOver(ctx context.Context) (f failover, err error) {
	ctx, cancel := context.WithTimeout(ctx, failoverLimit)
	defer cancel()
	cfg := voting
	cfg.Faults = true
	peers, err := fleet.Open(ctx, lockPeers, cfg)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	victim, others, client := peers[0], peers[1:], peers[lockPeers-1]
	names, err := ownedNames(ctx, client, victim.Name(), 2*failoverNames+1)
	if err != nil {
		return f, err
	}
	held, free, early := names[:failoverNames], names[failoverNames:2*failoverNames], names[2*failoverNames]
	unlocks, waiters, err := holdAndWait(ctx, others[0], client, held)
	if err != nil {
		return f, err
	}
	gone, seen := time.Now(), watchFor(ctx, others, victim.Name())
	if err := victim.Cut(others[0].Name(), others[1].Name(), others[2].Name()); err != nil {
		return f, err
	}
	asked := time.Now()
	unlock, err := takerOf(client)(ctx, 0, early)
	if err != nil {
		return f, err
	}
	f.unseen = time.Since(asked)
	if err := unlock(ctx); err != nil {
		return f, err
	}
	at, err := seen()
	if err != nil {
		return f, err
	}
	f.detected = at.Sub(gone)
	for _, unlock := range unlocks {
		go unlock(ctx)
	}
	newcomers := lockEach(ctx, client, free)
	if f.newcomer, err = newcomers(at); err != nil {
		return f, err
	}
	f.waiter, err = waiters(at)
	return f, err
}

// lockEach asks for all names at once. The function that it returns waits for the grants,
// and returns the time from a moment to the last grant.
func lockEach(ctx context.Context, p *agent.Agent, names []string) (last func(since time.Time) (time.Duration, error)) {
	g := new(errgroup.Group)
	granted := make([]time.Time, len(names))
	for i, name := range names {
		g.Go(func() error {
			_, err := p.Locks().Lock(ctx, name)
			granted[i] = time.Now()
			return err
		})
	}
	return func(since time.Time) (took time.Duration, err error) {
		err = g.Wait()
		for _, t := range granted {
			took = max(took, t.Sub(since))
		}
		return took, err
	}
}

// holdAndWait makes one peer hold locks and another wait for them.
func holdAndWait(ctx context.Context, holder, waiter *agent.Agent, names []string) (
	unlocks []func(context.Context) error, last func(time.Time) (time.Duration, error), err error) {
	for _, name := range names {
		unlock, err := takerOf(holder)(ctx, 0, name)
		if err != nil {
			return nil, nil, err
		}
		unlocks = append(unlocks, unlock)
	}
	last = lockEach(ctx, waiter, names)
	for _, name := range names {
		for {
			info, err := holder.Locks().Inspect(ctx, name)
			if err != nil {
				return nil, nil, err
			}
			if info.Waiting == 1 {
				break
			}
		}
	}
	return unlocks, last, nil
}

// watchFor returns a function that waits until all peers have seen the failure of one, and
// returns the time when the last did.
func watchFor(ctx context.Context, peers []*agent.Agent, name string) (seen func() (time.Time, error)) {
	g := new(errgroup.Group)
	when := make([]time.Time, len(peers))
	for i, p := range peers {
		events := p.Events(ctx)
		g.Go(func() error {
			for e := range events.C {
				if e.Type == agent.PeerLeft && e.Name == name {
					for _, m := range p.Members() {
						if m.Name == name {
							when[i] = m.Since
						}
					}
					return nil
				}
			}
			return fmt.Errorf("%s did not see that %s is gone: %w", p.Name(), name, ctx.Err())
		})
	}
	return func() (last time.Time, err error) {
		err = g.Wait()
		for _, t := range when {
			if t.After(last) {
				last = t
			}
		}
		return last, err
	}
}
