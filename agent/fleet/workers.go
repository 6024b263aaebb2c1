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

// WorkerStatus is what a worker says of itself. It is written whole: the last one
// counts. Any other struct or map may be stored instead; of one that has no status and
// running but "state", "tasks" (a number or a list) and "capacity", a Worker shows those.
type WorkerStatus struct {
	Status  string   `json:"status,omitempty"` // idle, busy, draining, or a word of yours
	Task    string   `json:"task,omitempty"`   // what it works on
	Running int      `json:"running"`          // how many tasks, of its capacity
	Labels  []string `json:"labels,omitempty"` // what it can do or where it is: gpu, zone=eu
}

// WorkerState says whether a worker is there.
type WorkerState string

// The states of a worker.
const (
	// Active is a worker whose heartbeat is heard.
	Active WorkerState = "active"
	// Unreachable is one that is merely out of sight: the peer it runs beside
	// did not say goodbye, and is down or cut off. It may be well on the other side.
	Unreachable WorkerState = "unreachable"
	// Gone is one that left, or fell silent while its peer went on. Its status
	// is what it last said.
	Gone WorkerState = "gone"
)

// Worker is one worker of the fleet.
type Worker struct {
	ID       string        `json:"id"`
	State    WorkerState   `json:"state"`
	Host     string        `json:"host,omitempty"`     // name of the peer it runs beside
	Expires  time.Duration `json:"expires,omitempty"`  // how long its heartbeat is still good, nanoseconds
	Capacity int           `json:"capacity,omitempty"` // how many tasks it takes at once, 0 if it did not say
	WorkerStatus
}

// Free returns how many more tasks the worker takes: none unless it is active.
func (w Worker) Free() int {
	if w.State != Active {
		return 0
	}
	return max(w.Capacity-w.Running, 0)
}

// Workers is what the fleet knows of its workers. Make one with Agent.Workers.
//
// Status and capacity are signs of life: they expire after Config.DefaultTTL, unless
// an option says otherwise, and are renewed for as long as the worker beats through
// this peer. A heartbeat is not a key: it is a lease that the worker's peer renews
// with all others.
type Workers struct{ f *Fleet }

// WorkerStatusKey is the key of a worker's status: for Watch, for GetAs with a type
// of yours, and for other languages.
func WorkerStatusKey(id string) string { return workerStatus.key(id) }

// WorkerCapacityKey is the key of a worker's capacity, an integer.
func WorkerCapacityKey(id string) string { return workerCapacity.key(id) }

func (w Workers) statuses() collection[WorkerStatus] {
	return collection[WorkerStatus]{w.f, workerStatus}
}
func (w Workers) capacities() collection[int] { return collection[int]{w.f, workerCapacity} }

// SetStatus says how worker id is: a WorkerStatus, or another struct or a map. The
// id is one segment of a key, up to 128 bytes.
func (w Workers) SetStatus(ctx context.Context, id string, status any, opts ...memory.Option) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	return w.f.putSign(id, opts, func(opts []memory.Option) error { return w.statuses().put(ctx, status, opts, id) }, workerStatus)
}

// Status returns what the worker last said of itself, memory.ErrNotFound if nothing. What
// its slices refer to is shared and must not be changed.
func (w Workers) Status(id string) (WorkerStatus, error) { return w.statuses().get(id) }

// SetCapacity says how many tasks worker id takes at once.
func (w Workers) SetCapacity(ctx context.Context, id string, n int, opts ...memory.Option) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("worker %q: a capacity of %d: want 0 or more", id, n)
	}
	return w.f.putSign(id, opts, func(opts []memory.Option) error { return w.capacities().put(ctx, n, opts, id) }, workerCapacity)
}

// Capacity returns how many tasks the worker takes at once, memory.ErrNotFound if it did
// not say.
func (w Workers) Capacity(id string) (int, error) { return w.capacities().get(id) }

// Heartbeat renews the lease of this peer's worker, or of those named, which then
// run beside this peer: each for Config.HeartbeatTTL. For the peer's own worker that
// happens by itself unless Config.HeartbeatInterval is Manual.
func (w Workers) Heartbeat(ctx context.Context, ids ...string) error {
	return w.HeartbeatFor(ctx, w.f.host.HeartbeatTTL, ids...)
}

// HeartbeatFor is Heartbeat for another time; one of more than an hour is cut to that.
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

// Remove takes a worker out: its status and capacity go, and its heartbeat ends if
// it beats through this peer.
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

// removal returns the writes that take out what is said of a worker.
func removal(r *replica.Replica, now time.Time, id string) (ops []crdt.Op) {
	for _, f := range []form{workerStatus, workerCapacity} {
		if _, ok := r.Store().Render(f.key(id), uint64(now.UnixMilli())); ok {
			ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: f.key(id)})
		}
	}
	return ops
}

// Get returns one worker, memory.ErrNotFound if nothing is known of it.
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
	found, said := w.fill(h)
	if !beats && !said {
		return Worker{}, fmt.Errorf("worker %q: %w", id, memory.ErrNotFound)
	}
	return found, nil
}

// List returns every worker that beats, is out of sight, or left a status behind,
// by id. It walks all keys.
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

// Active returns the workers whose heartbeat is heard, by id. A worker that said
// goodbye leaves at once; one whose peer was killed, within the heartbeat's TTL.
func (w Workers) Active() ([]Worker, error) { return w.in(Active) }

// Unreachable returns the workers that are merely out of sight, by id.
func (w Workers) Unreachable() ([]Worker, error) { return w.in(Unreachable) }

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

// Find returns the active workers that take at least free more tasks and have all
// labels, the freest first.
func (w Workers) Find(free int, labels ...string) ([]Worker, error) {
	list, err := w.Active()
	list = slices.DeleteFunc(list, func(x Worker) bool {
		return x.Free() < free || slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(x.Labels, l) })
	})
	slices.SortStableFunc(list, func(x, y Worker) int { return cmp.Compare(y.Free(), x.Free()) })
	return list, err
}

func (w Workers) heartbeats() (list []gossip.Heartbeat) {
	w.f.host.Memory.Do(func(r *replica.Replica, now time.Time) { list = r.View().Heartbeats(now) })
	return list
}

// fill adds what the worker says of itself; said is false if that is nothing. A
// status of another form shows as far as it fits.
func (w Workers) fill(h gossip.Heartbeat) (found Worker, said bool) {
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

// read takes from a status what another form of it says: state for status, tasks for
// running, and capacity, where the worker did not say that by itself.
func (w *Worker) read(status crdt.Value) {
	if w.Status == "" {
		_ = status.Field("state").Decode(&w.Status) // of another type it says nothing
	}
	if tasks := status.Field("tasks"); status.Field("running").IsZero() && tasks.Decode(&w.Running) != nil {
		w.Running = len(tasks.Elements())
	}
	if w.Capacity == 0 {
		_ = status.Field("capacity").Decode(&w.Capacity)
	}
}
