package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// WorkerStatus is the status of a worker. It is written as a whole, and the last write wins. A program
// may store another struct or map instead. If that has the fields "state", "tasks" (a number or a
// list) and "capacity", a Worker shows them as Status, Running and Capacity.
type WorkerStatus struct {
	Status  string   `json:"status,omitempty"` // idle, busy, draining, or another word
	Task    string   `json:"task,omitempty"`   // id of a task that it works on
	Running int      `json:"running"`          // number of tasks that it works on
	Labels  []string `json:"labels,omitempty"` // its abilities or its location: gpu, zone=eu
}

// WorkerState says whether the heartbeat of a worker arrives.
type WorkerState string

// The states of a worker.
const (
	// Active is the state of a worker whose heartbeat arrives.
	Active WorkerState = "active"
	// Unreachable is the state of a worker whose peer is down or cut off and did not leave. The
	// worker may be running on the other side of a network partition.
	Unreachable WorkerState = "unreachable"
	// Gone is the state of a worker that left, or whose heartbeat ended while its peer stayed up.
	Gone WorkerState = "gone"
)

// Worker is one worker of the fleet.
type Worker struct {
	ID       string        `json:"id"`
	State    WorkerState   `json:"state"`
	Host     string        `json:"host,omitempty"`     // name of the peer that it beats through
	Expires  time.Duration `json:"expires,omitempty"`  // time until its heartbeat runs out, nanoseconds
	Capacity int           `json:"capacity,omitempty"` // greatest number of tasks at once, 0 if it is not set
	WorkerStatus
}

// Free returns how many more tasks the worker takes: Capacity minus Running if it is active, else 0.
func (w Worker) Free() int {
	if w.State != Active {
		return 0
	}
	return max(w.Capacity-w.Running, 0)
}

// Workers is a handle on the workers of the fleet. Agent.Workers returns it.
//
// The status and the capacity of a worker expire after Config.DefaultTTL, unless an option sets another
// TTL. They are renewed as long as the worker beats through this peer. A heartbeat is not a key: it is
// a lease that the worker's peer announces to all other peers. A worker beats through the peer at which
// Heartbeat is called.
type Workers struct{ f *Fleet }

// WorkerStatusKey returns the key of a worker's status: for Watch, for GetAs with another type, and for
// programs in other languages.
func WorkerStatusKey(id string) string { return workerStatus.key(id) }

// WorkerCapacityKey returns the key of a worker's capacity, an integer.
func WorkerCapacityKey(id string) string { return workerCapacity.key(id) }

func (w Workers) statuses() collection[WorkerStatus] {
	return collection[WorkerStatus]{w.f, workerStatus}
}
func (w Workers) capacities() collection[int] { return collection[int]{w.f, workerCapacity} }

// SetStatus sets the status of worker id: a WorkerStatus, or another struct or a map. The id is one
// segment of a key, up to 128 bytes.
func (w Workers) SetStatus(ctx context.Context, id string, status any, opts ...memory.Option) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	return w.f.putExpiring(id, opts, func(opts []memory.Option) error { return w.statuses().put(ctx, status, opts, id) }, workerStatus)
}

// Status returns the status of the worker. Its slices are shared and must not be changed. It fails with
// agent.ErrNotFound if there is none.
func (w Workers) Status(id string) (WorkerStatus, error) { return w.statuses().get(id) }

// SetCapacity sets how many tasks worker id takes at once, 0 or more.
func (w Workers) SetCapacity(ctx context.Context, id string, n int, opts ...memory.Option) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("worker %q: a capacity of %d: want 0 or more", id, n)
	}
	return w.f.putExpiring(id, opts, func(opts []memory.Option) error { return w.capacities().put(ctx, n, opts, id) }, workerCapacity)
}

// Capacity returns how many tasks the worker takes at once. It fails with agent.ErrNotFound if that is
// not set.
func (w Workers) Capacity(id string) (int, error) { return w.capacities().get(id) }

// Heartbeat renews the heartbeat of each worker in ids, which from then on beats through this peer, for
// Config.HeartbeatTTL. Without ids it renews that of the peer's own worker, which the peer does by
// itself unless Config.HeartbeatInterval is Manual. It fails with agent.ErrTooManyWorkers, with
// agent.ErrClosed, and for ids that are not valid.
func (w Workers) Heartbeat(ctx context.Context, ids ...string) error {
	return w.HeartbeatFor(ctx, w.f.host.HeartbeatTTL, ids...)
}

// HeartbeatFor is Heartbeat with another TTL, of one hour at most; a longer one is cut.
func (w Workers) HeartbeatFor(ctx context.Context, ttl time.Duration, ids ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(ids) == 0 {
		ids = []string{w.f.host.Name}
	}
	var faults []error
	w.f.host.Memory.Do(func(r *replica.Replica, now time.Time) {
		if w.f.host.Memory.Closed() {
			faults = []error{memory.ErrClosed}
			return
		}
		for _, id := range ids {
			faults = append(faults, r.Beat(now, id, ttl))
		}
	})
	w.f.host.Memory.Signal()
	return errors.Join(faults...)
}

// Remove deletes the status and the capacity of a worker, and ends its heartbeat if it beats through
// this peer.
func (w Workers) Remove(ctx context.Context, id string) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	m := w.f.host.Memory
	var ops []crdt.Op
	m.Do(func(r *replica.Replica, now time.Time) {
		ops = removal(r, now, id)
		if !m.Closed() {
			r.Release(now, id)
		}
	})
	m.Signal()
	return m.Write(ctx, memory.Manner{Urgent: true}, ops...)
}

// removal returns the writes that delete the status and the capacity of a worker.
func removal(r *replica.Replica, now time.Time, id string) (ops []crdt.Op) {
	for _, f := range []form{workerStatus, workerCapacity} {
		if _, ok := r.Store().Render(f.key(id), uint64(now.UnixMilli())); ok {
			ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: f.key(id)})
		}
	}
	return ops
}

// Get returns the worker with this id. It fails with agent.ErrNotFound if the worker has neither a
// heartbeat nor a status nor a capacity.
func (w Workers) Get(id string) (Worker, error) {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return Worker{}, err
	}
	if w.f.host.Memory.Closed() {
		return Worker{}, memory.ErrClosed
	}
	var h gossip.Heartbeat
	beats := false
	w.f.host.Memory.Do(func(r *replica.Replica, now time.Time) { h, beats = r.View().Heartbeat(now, id) })
	h.Worker = id
	found, recorded := w.fill(h)
	if !beats && !recorded {
		return Worker{}, fmt.Errorf("worker %q: %w", id, memory.ErrNotFound)
	}
	return found, nil
}

// List returns every worker that has a heartbeat, a status or a capacity, sorted by id. Its cost
// grows with the number of workers that have ever had a status.
func (w Workers) List() ([]Worker, error) {
	seen := make(map[string]gossip.Heartbeat)
	for _, h := range w.heartbeats() {
		seen[h.Worker] = h
	}
	note := func(ids []string) {
		if _, ok := seen[ids[0]]; !ok {
			seen[ids[0]] = gossip.Heartbeat{Worker: ids[0]}
		}
	}
	if err := errors.Join(workerStatus.each(w.f.host.Memory, note), workerCapacity.each(w.f.host.Memory, note)); err != nil {
		return nil, memory.ErrClosed
	}
	list := make([]Worker, 0, len(seen))
	for _, h := range seen {
		found, _ := w.fill(h)
		list = append(list, found)
	}
	slices.SortFunc(list, func(x, y Worker) int { return cmp.Compare(x.ID, y.ID) })
	return list, nil
}

// Active returns the workers whose heartbeats arrive, sorted by id. A worker whose peer closes is not
// active from then on; one whose peer is killed stays active up to the TTL of its heartbeat.
func (w Workers) Active() ([]Worker, error) { return w.in(Active) }

// Unreachable returns the workers in state Unreachable, sorted by id.
func (w Workers) Unreachable() ([]Worker, error) { return w.in(Unreachable) }

// in returns the workers with a heartbeat that are in this state.
func (w Workers) in(state WorkerState) ([]Worker, error) {
	if w.f.host.Memory.Closed() {
		return nil, memory.ErrClosed
	}
	list := []Worker{}
	for _, h := range w.heartbeats() {
		if found, _ := w.fill(h); found.State == state {
			list = append(list, found)
		}
	}
	return list, nil
}

// Find returns the active workers that take at least free more tasks and have all of labels. Those that
// take the most tasks come first.
func (w Workers) Find(free int, labels ...string) ([]Worker, error) {
	list, err := w.Active()
	list = slices.DeleteFunc(list, func(x Worker) bool {
		return x.Free() < free || slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(x.Labels, l) })
	})
	slices.SortStableFunc(list, func(x, y Worker) int { return cmp.Compare(y.Free(), x.Free()) })
	return list, err
}

// heartbeats returns the heartbeats that this peer knows, sorted by worker.
func (w Workers) heartbeats() (list []gossip.Heartbeat) {
	w.f.host.Memory.Do(func(r *replica.Replica, now time.Time) { list = r.View().Heartbeats(now) })
	return list
}

// fill returns the worker of a heartbeat with its status and its capacity; recorded reports whether it
// has either. A status of another form is shown as far as Worker.read understands it.
func (w Workers) fill(h gossip.Heartbeat) (found Worker, recorded bool) {
	found = Worker{ID: h.Worker, Expires: h.Remaining, State: Gone}
	if !h.Host.IsZero() {
		found.Host = w.f.host.NameOf(h.Host)
	}
	switch h.State {
	case gossip.Active:
		found.State = Active
	case gossip.Unreachable:
		found.State = Unreachable
	}
	status, err1 := w.Status(h.Worker)
	capacity, err2 := w.Capacity(h.Worker)
	found.WorkerStatus, found.Capacity = status, capacity
	if v, ok := w.f.host.Memory.Peek(WorkerStatusKey(h.Worker)); ok {
		found.read(v)
	}
	return found, !errors.Is(err1, memory.ErrNotFound) || !errors.Is(err2, memory.ErrNotFound)
}

// read takes the fields of a status of another form: state for Status, tasks for Running, and capacity
// if the worker has no capacity of its own.
func (w *Worker) read(status crdt.Value) {
	if w.Status == "" {
		_ = status.Field("state").Decode(&w.Status) // a field of another type counts as absent
	}
	if tasks := status.Field("tasks"); status.Field("running").IsZero() && tasks.Decode(&w.Running) != nil {
		w.Running = len(tasks.Elements())
	}
	if w.Capacity == 0 {
		_ = status.Field("capacity").Decode(&w.Capacity)
	}
}
