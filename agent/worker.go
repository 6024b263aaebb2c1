package agent

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
	// WorkerActive is a worker whose heartbeat is heard.
	WorkerActive WorkerState = "active"
	// WorkerUnreachable is one that is merely out of sight: the peer it runs beside
	// did not say goodbye, and is down or cut off. It may be well on the other side.
	WorkerUnreachable WorkerState = "unreachable"
	// WorkerGone is one that left, or fell silent while its peer went on. Its status
	// is what it last said.
	WorkerGone WorkerState = "gone"
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
	if w.State != WorkerActive {
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
type Workers struct{ a *Agent }

// Workers returns the workers of the fleet.
func (a *Agent) Workers() Workers { return Workers{a} }

// WorkerStatusKey is the key of a worker's status: for Watch, for GetAs with a type
// of yours, and for other languages.
func WorkerStatusKey(id string) string { return workerStatus.key(id) }

// WorkerCapacityKey is the key of a worker's capacity, an integer.
func WorkerCapacityKey(id string) string { return workerCapacity.key(id) }

func (w Workers) statuses() collection[WorkerStatus] {
	return collection[WorkerStatus]{w.a, workerStatus}
}
func (w Workers) capacities() collection[int] { return collection[int]{w.a, workerCapacity} }

// SetStatus says how worker id is: a WorkerStatus, or another struct or a map. The
// id is one segment of a key, up to 128 bytes.
func (w Workers) SetStatus(ctx context.Context, id string, status any, opts ...WriteOption) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	return w.a.putSign(ctx, id, opts, func(opts []WriteOption) error { return w.statuses().put(ctx, status, opts, id) }, workerStatus)
}

// Status returns what the worker last said of itself, ErrNotFound if nothing. What
// its slices refer to is shared and must not be changed.
func (w Workers) Status(id string) (WorkerStatus, error) { return w.statuses().get(id) }

// SetCapacity says how many tasks worker id takes at once.
func (w Workers) SetCapacity(ctx context.Context, id string, n int, opts ...WriteOption) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("worker %q: a capacity of %d: want 0 or more", id, n)
	}
	return w.a.putSign(ctx, id, opts, func(opts []WriteOption) error { return w.capacities().put(ctx, n, opts, id) }, workerCapacity)
}

// Capacity returns how many tasks the worker takes at once, ErrNotFound if it did
// not say.
func (w Workers) Capacity(id string) (int, error) { return w.capacities().get(id) }

// Heartbeat renews the lease of this peer's worker, or of those named, which then
// run beside this peer: each for Config.HeartbeatTTL. For the peer's own worker that
// happens by itself unless Config.HeartbeatInterval is Manual.
func (w Workers) Heartbeat(ctx context.Context, ids ...string) error {
	return w.HeartbeatFor(ctx, w.a.cfg.HeartbeatTTL, ids...)
}

// HeartbeatFor is Heartbeat for another time; one of more than an hour is cut to that.
func (w Workers) HeartbeatFor(ctx context.Context, ttl time.Duration, ids ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(ids) == 0 {
		ids = []string{w.a.cfg.Name}
	}
	var faults []error
	w.a.mem.Do(func(r *replica.Replica, now time.Time) {
		if w.a.mem.Closed() {
			faults = []error{ErrClosed}
			return
		}
		for _, id := range ids {
			faults = append(faults, r.Beat(now, id, ttl))
		}
	})
	w.a.mem.Signal()
	return errors.Join(faults...)
}

// Remove takes a worker out: its status and capacity go, and its heartbeat ends if
// it beats through this peer.
func (w Workers) Remove(ctx context.Context, id string) error {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return err
	}
	a := w.a
	var ops []crdt.Op
	a.mem.Do(func(r *replica.Replica, now time.Time) {
		ops = removal(r, now, id)
		if !a.mem.Closed() {
			r.Release(now, id)
		}
	})
	a.mem.Signal()
	return a.mem.Write(ctx, memory.Manner{Urgent: true}, ops...)
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

// Get returns one worker, ErrNotFound if nothing is known of it.
func (w Workers) Get(id string) (Worker, error) {
	if err := gossip.ValidateWorkerID(id); err != nil {
		return Worker{}, err
	}
	if w.a.mem.Closed() {
		return Worker{}, ErrClosed
	}
	var h gossip.Heartbeat
	beats := false
	w.a.mem.Do(func(r *replica.Replica, now time.Time) { h, beats = r.View().Heartbeat(now, id) })
	h.Worker = id
	found, said := w.fill(h)
	if !beats && !said {
		return Worker{}, fmt.Errorf("worker %q: %w", id, ErrNotFound)
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
	if err := errors.Join(workerStatus.each(w.a, note), workerCapacity.each(w.a, note)); err != nil {
		return nil, ErrClosed
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
func (w Workers) Active() ([]Worker, error) { return w.in(WorkerActive) }

// Unreachable returns the workers that are merely out of sight, by id.
func (w Workers) Unreachable() ([]Worker, error) { return w.in(WorkerUnreachable) }

func (w Workers) in(state WorkerState) ([]Worker, error) {
	if w.a.mem.Closed() {
		return nil, ErrClosed
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
	w.a.mem.Do(func(r *replica.Replica, now time.Time) { list = r.View().Heartbeats(now) })
	return list
}

// fill adds what the worker says of itself; said is false if that is nothing. A
// status of another form shows as far as it fits.
func (w Workers) fill(h gossip.Heartbeat) (found Worker, said bool) {
	found = Worker{ID: h.Worker, Expires: h.Remaining, State: WorkerGone}
	if !h.Host.IsZero() {
		found.Host = w.a.WriterName(h.Host)
	}
	switch h.State {
	case gossip.Active:
		found.State = WorkerActive
	case gossip.Unreachable:
		found.State = WorkerUnreachable
	}
	status, err1 := w.Status(h.Worker)
	capacity, err2 := w.Capacity(h.Worker)
	found.WorkerStatus, found.Capacity = status, capacity
	if v, ok := w.a.mem.Peek(WorkerStatusKey(h.Worker)); ok {
		found.read(v)
	}
	return found, !errors.Is(err1, ErrNotFound) || !errors.Is(err2, ErrNotFound)
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

// putSign writes a sign of life of worker id. Without a TTL of its own it gets the
// default one, and is renewed while the worker beats through this peer.
func (a *Agent) putSign(ctx context.Context, id string, opts []WriteOption, put func([]WriteOption) error, f form) error {
	own := timed(opts)
	if !own && a.cfg.DefaultTTL > 0 {
		opts = append([]WriteOption{WithTTL(a.cfg.DefaultTTL)}, opts...)
	}
	if err := put(opts); err != nil {
		return err
	}
	a.mem.Do(func(*replica.Replica, time.Time) {
		if own || a.cfg.DefaultTTL <= 0 {
			delete(a.signs, f.key(id))
		} else {
			a.signs[f.key(id)] = id
		}
	})
	return nil
}

// timed reports whether opts set a TTL, none included.
func timed(opts []WriteOption) bool {
	o := memory.Options{TTL: -1}
	for _, f := range opts {
		f(&o)
	}
	return o.TTL != -1
}

// renewSigns gives the signs of life of workers that beat here another TTL when half
// of it is over. It runs under the lock, several times a TTL.
func (a *Agent) renewSigns(r *replica.Replica, now time.Time) {
	ttl := a.cfg.DefaultTTL
	if ttl <= 0 || now.Before(a.signsAt) {
		return
	}
	a.signsAt = now.Add(max(ttl/8, time.Second))
	for key, id := range a.signs { // each for itself: no order
		e, ok := r.Store().Render(key, uint64(now.UnixMilli()))
		h, _ := r.View().Heartbeat(now, id)
		if !ok || e.Dot().Actor != r.Actor() || h.Host != r.Actor() {
			delete(a.signs, key) // it went, or somebody else speaks for the worker now
			continue
		}
		if left := time.Duration(int64(e.Expiry())-now.UnixMilli()) * time.Millisecond; left > ttl/2 {
			continue
		}
		op := crdt.Op{Verb: crdt.Put, Key: key, Value: e.Value(), Expiry: uint64(now.Add(ttl).UnixMilli())}
		if _, err := r.Write(now, false, op); err != nil {
			a.log.Warn("cannot renew what a worker says of itself", "key", key, "err", err)
		}
	}
}
