package api

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

func judge(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return Response{Body: Judge(ctx, a, r.Reloads)}, nil
}

// Judge returns the verdict on the cluster as the peer of a sees it, and on the daemon, whose
// reloads may be nil. The level is the same for every caller; queues, tasks and workers are named
// only to callers that may read them. If enough voters are up but do not answer, Judge takes half
// a second, at most once in two seconds.
func Judge(ctx context.Context, a *agent.Agent, reloads *Reloads) verdict.Verdict {
	grant, stats := GrantOf(ctx), a.Stats()
	k := verdict.Known{Now: time.Now(), Ready: a.Ready(), Members: a.Members(), Backlog: stats.Backlog, Memory: stats.Store.Memory, Limit: stats.Store.Limit}
	if a.Locks().Guarantee() == lockservice.Quorum {
		k.Voters, k.Turnout = a.Locks().Voters().Names, a.Locks().Turnout(ctx)
	}
	dead := make([]string, 0, len(stats.Queues))
	for _, name := range slices.Sorted(maps.Keys(stats.Queues)) {
		if n := stats.Queues[name].Depth.Dead; n > 0 {
			k.Dead += n
			dead = append(dead, name)
		}
	}
	k.DeadIn = named(grant, keyspace.Queues, dead)
	left, _ := a.Unfinished() // an error means that the agent is closed; then it is not ready either
	k.Failed = named(grant, keyspace.Tasks, left.Failed)
	workers := make([]string, len(left.Abandoned))
	for i, w := range left.Abandoned {
		workers[i] = w.Worker
		k.Unfinished += len(w.Tasks)
	}
	k.Abandoned = named(grant, keyspace.Workers, workers)
	k.Refused = reloads.shown(grant)
	return verdict.Judge(k)
}

// named counts ids, and names those that the grant covers.
func named(grant *Grant, prefix string, ids []string) verdict.Names {
	n := verdict.Names{Count: len(ids)}
	for _, id := range ids {
		if grant.MayRead(prefix + id) {
			n.Names = append(n.Names, id)
		}
	}
	return n
}
