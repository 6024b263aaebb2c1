package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// Task is all that this peer knows about a task. Fields that it does not know are omitted.
type Task struct {
	ID       string                `json:"id"`
	State    *crdt.Value           `json:"state,omitempty"`
	Progress *crdt.Value           `json:"progress,omitempty"`
	Agents   map[string]crdt.Value `json:"agents,omitempty"`
	Lock     *fleet.TaskHolder     `json:"lock,omitempty"` // the holder of the task's lock, as far as this peer knows
}

// value returns the value of a key, nil if it has none.
func value(a *agent.Agent, key string) *crdt.Value {
	v, ok := a.Get(key)
	if !ok {
		return nil
	}
	return &v
}

func task(a *agent.Agent, id string) Task {
	return Task{ID: id, State: value(a, fleet.TaskStateKey(id)), Progress: value(a, fleet.TaskProgressKey(id))}
}

func listTasks(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	p, err := newPage[Task](r)
	if err != nil {
		return Response{}, err
	}
	grant := GrantOf(ctx)
	err = a.Tasks().Walk(ctx, r.Query.Get("after"), func(id string) bool {
		if !grant.MayRead(keyspace.Tasks + id) {
			return true
		}
		t, size := task(a, id), 0
		for _, v := range []*crdt.Value{t.State, t.Progress} {
			if v != nil {
				size += len(v.Raw())
			}
		}
		return p.add(id, t, size)
	})
	return Response{Body: p.list}, err
}

func getTask(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	t := task(a, r.ID)
	list, err := a.Agents().List(r.ID)
	if err != nil {
		return Response{}, err
	}
	for _, x := range list {
		if v, ok := a.Get(fleet.AgentKey(r.ID, x.Agent)); ok {
			if t.Agents == nil {
				t.Agents = map[string]crdt.Value{}
			}
			t.Agents[x.Agent] = v
		}
	}
	if h, err := a.Tasks().Holder(r.ID); err == nil {
		t.Lock = &h
	}
	if t.State == nil && t.Progress == nil && t.Agents == nil && t.Lock == nil {
		return Response{}, agent.ErrNotFound
	}
	return Response{Body: t}, nil
}

func deleteTask(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return Response{Empty: true}, a.Tasks().Delete(ctx, r.ID)
}

// record returns the operations on one typed record: read returns its value, and change passes a
// body and the options of a write to set.
func record(key func(r Request) string, set func(ctx context.Context, a *agent.Agent, r Request, v crdt.Value, opts []agent.WriteOption) error) (read, change func(context.Context, *agent.Agent, Request) (Response, error)) {
	read = func(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
		r.Key = key(r)
		return get(ctx, a, r)
	}
	change = func(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
		r.Key = key(r)
		res, err := write(ctx, a, r, func(v crdt.Value, opts []agent.WriteOption) error { return set(ctx, a, r, v, opts) })
		if err != nil {
			return Response{}, err
		}
		return r.outcome(a, res.Created)
	}
	return read, change
}

var (
	getTaskState, patchTaskState = record(
		func(r Request) string { return fleet.TaskStateKey(r.ID) },
		func(ctx context.Context, a *agent.Agent, r Request, v crdt.Value, opts []agent.WriteOption) error {
			return a.Tasks().SetState(ctx, r.ID, v, opts...)
		})
	getTaskProgress, putTaskProgress = record(
		func(r Request) string { return fleet.TaskProgressKey(r.ID) },
		func(ctx context.Context, a *agent.Agent, r Request, _ crdt.Value, opts []agent.WriteOption) error {
			var p progressBody
			if err := r.decode(&p); err != nil {
				return err
			}
			switch {
			case (p.Progress == nil) == (p.Percent == nil):
				return bad(`body: want {"progress":0.5,"status":"…"}, or "percent":50 in place of "progress"`)
			case p.Percent != nil && !(*p.Percent >= 0 && *p.Percent <= 100):
				return bad("percent %v: want 0 to 100", *p.Percent)
			case p.Percent != nil:
				return a.Tasks().SetProgress(ctx, r.ID, *p.Percent/100, p.Status, opts...)
			}
			return a.Tasks().SetProgress(ctx, r.ID, *p.Progress, p.Status, opts...)
		})
	getAgent, patchAgent = record(
		func(r Request) string { return fleet.AgentKey(r.ID, r.Agent) },
		func(ctx context.Context, a *agent.Agent, r Request, v crdt.Value, opts []agent.WriteOption) error {
			return a.Agents().SetCoordination(ctx, r.ID, r.Agent, v, opts...)
		})
	getWorkerStatus, putWorkerStatus = record(
		func(r Request) string { return fleet.WorkerStatusKey(r.ID) },
		func(ctx context.Context, a *agent.Agent, r Request, v crdt.Value, opts []agent.WriteOption) error {
			return a.Workers().SetStatus(ctx, r.ID, v, opts...)
		})
	_, putWorkerCapacity = record(
		func(r Request) string { return fleet.WorkerCapacityKey(r.ID) },
		func(ctx context.Context, a *agent.Agent, r Request, v crdt.Value, opts []agent.WriteOption) error {
			var n int
			if err := v.Field("capacity").Decode(&n); err != nil || n < 0 {
				return bad(`body: want {"capacity":4}, with a number of 0 or more`)
			}
			return a.Workers().SetCapacity(ctx, r.ID, n, opts...)
		})
)

func listAgents(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	list, err := a.Agents().List(r.ID)
	if err != nil {
		return Response{}, err
	}
	l, err := page(r, list, func(x fleet.TaskAgent) string { return x.Agent }, itself)
	return Response{Body: l}, err
}

func listWorkers(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	free, err := strconv.Atoi(cmp.Or(r.Query.Get("free"), "0"))
	if err != nil || free < 0 {
		return Response{}, bad("free %q: want 0 or more, the number of tasks for which a worker must have room", r.Query.Get("free"))
	}
	state := fleet.WorkerState(r.Query.Get("state"))
	if !slices.Contains([]fleet.WorkerState{"", fleet.Active, fleet.Unreachable, fleet.Gone}, state) {
		return Response{}, bad("state %q: want active, unreachable or gone", state)
	}
	list, err := a.Workers().List()
	if err != nil {
		return Response{}, err
	}
	grant := GrantOf(ctx)
	list = slices.DeleteFunc(list, func(w fleet.Worker) bool {
		lacks := func(label string) bool { return !slices.Contains(w.Labels, label) }
		return !grant.MayRead(keyspace.Workers+w.ID) || state != "" && w.State != state || w.Free() < free || slices.ContainsFunc(r.Query["label"], lacks)
	})
	l, err := page(r, list, func(w fleet.Worker) string { return w.ID }, func(w fleet.Worker) (Worker, int, bool) { return workerOf(w), 0, true })
	return Response{Body: l}, err
}

func getWorker(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	w, err := a.Workers().Get(r.ID)
	return Response{Body: workerOf(w)}, err
}

// beat renews a worker's lease, for the time in the body if there is one.
func beat(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body beatBody
	if len(r.Body) > 0 {
		if err := r.decode(&body); err != nil {
			return Response{}, err
		}
	}
	if body.TTL == "" {
		return Response{Empty: true}, a.Workers().Heartbeat(ctx, r.ID)
	}
	ttl, err := duration("ttl", body.TTL, time.Millisecond, longestTTL)
	if err != nil {
		return Response{}, err
	}
	return Response{Empty: true}, a.Workers().HeartbeatFor(ctx, ttl, r.ID)
}

func deleteWorker(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return Response{Empty: true}, a.Workers().Remove(ctx, r.ID)
}

// Queue is the state of the fleet's queue.
type Queue struct {
	Pending    []string       `json:"pending"`
	Processing []string       `json:"processing"`
	Fields     map[string]any `json:"fields,omitempty"`
}

func getQueue(_ context.Context, a *agent.Agent, _ Request) (Response, error) {
	s, err := a.Queue().State()
	return Response{Body: Queue{append([]string{}, s.Pending...), append([]string{}, s.Processing...), s.Fields}}, err
}

func putQueue(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var q queueBody
	if err := r.decode(&q); err != nil {
		return Response{}, err
	}
	s := fleet.QueueState{Pending: q.Pending, Processing: q.Processing, Fields: map[string]any{}}
	for name, raw := range q.Fields {
		s.Fields[name] = raw
	}
	return r.changed(a, keyspace.Queue, a.Queue().SetState(ctx, s))
}

func getAssignments(_ context.Context, a *agent.Agent, _ Request) (Response, error) {
	m, err := a.Queue().Assignments()
	return Response{Body: m}, err
}

func patchAssignments(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var m map[string][]string
	if err := r.decode(&m); err != nil {
		return Response{}, err
	}
	return r.changed(a, keyspace.Assignments, a.Queue().SetAssignments(ctx, m))
}

func getMetrics(_ context.Context, a *agent.Agent, _ Request) (Response, error) {
	m, err := a.Queue().Metrics()
	return Response{Body: m}, err
}

func patchMetrics(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	v, err := crdt.JSONValue(r.Body)
	if err == nil {
		err = a.Queue().SetMetrics(ctx, v)
	}
	return r.changed(a, keyspace.Metrics, err)
}

// changed returns the answer for a write to a key of the fleet, or the error err of the write.
func (r Request) changed(a *agent.Agent, key string, err error) (Response, error) {
	if err != nil {
		return Response{}, err
	}
	r.Key = key
	v, _ := a.Version(key)
	return r.written(v, false), nil
}
