package fleet

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// Unfinished is the work of the fleet that needs attention.
type Unfinished struct {
	Failed    []string    // ids of the tasks whose status is failed, sorted
	Abandoned []Abandoned // sorted by worker
}

// Abandoned is a worker that works on tasks by its status or theirs, and is unreachable or gone.
type Abandoned struct {
	Worker string
	State  WorkerState // Unreachable or Gone
	// Tasks are the tasks whose state names the worker as the one that works on them, and the task
	// in the worker's last status; sorted. They are empty if the status has only a number of tasks.
	Tasks []string
}

// atWork are the statuses of a task whose Worker works on it.
var atWork = []string{"running", "in_progress", "in-progress", "claimed"}

// unfinished keeps a summary of task states and worker statuses, so that Fleet.Unfinished need not walk
// all keys. The loop notes the keys that changed, and a reader brings the summary up to date with them.
// It walks all keys only at first, and when more than maxNoted keys have changed since the last reading.
type unfinished struct {
	mu      sync.Mutex          // guards changed and missed; the loop takes it, so it is never held during a walk
	changed map[string]struct{} // keys of task states and worker statuses that changed since the last reading
	missed  bool                // more than maxNoted keys changed

	reading sync.Mutex            // guards the fields below; the loop never takes it
	failed  map[string]struct{}   // ids of the tasks that failed; nil until all keys were read
	working map[string]assignment // by the key that says so
	workers map[string]struct{}   // ids of workers that have, or have had, a status
}

// assignment says that a worker works on a task. The task is "" if the worker gave only a number.
type assignment struct{ worker, task string }

// maxNoted bounds the number of keys in changed, and the number of workers that are remembered.
const maxNoted = 1 << 14

// note takes down that key has changed. The loop calls it.
func (u *unfinished) note(key string) {
	if !strings.HasPrefix(key, keyspace.Root) || taskState.match(key) == nil && workerStatus.match(key) == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.changed) == maxNoted {
		u.missed = true
		return
	}
	if u.changed == nil {
		u.changed = make(map[string]struct{})
	}
	u.changed[strings.Clone(key)] = struct{}{} // key is part of a frame, which it would keep from being freed
}

// take returns the keys that changed since the last call, and whether further keys changed.
func (u *unfinished) take() (changed map[string]struct{}, missed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	changed, missed = u.changed, u.missed
	u.changed, u.missed = nil, false
	return changed, missed
}

// read brings the summary up to date. It must be called with reading held.
func (u *unfinished) read(m *memory.Memory) error {
	changed, missed := u.take()
	if missed || u.failed == nil {
		u.failed = nil // so that the next call walks again if this walk fails
		changed = make(map[string]struct{})
		for _, f := range []form{taskState, workerStatus} {
			if err := f.each(m, func(ids []string) { changed[f.key(ids...)] = struct{}{} }); err != nil {
				return err
			}
		}
		u.failed, u.working, u.workers = make(map[string]struct{}), make(map[string]assignment), make(map[string]struct{})
	}
	for key := range changed { // in any order: no key depends on another
		delete(u.working, key)
		value, _ := m.Peek(key)
		if ids := taskState.match(key); ids != nil {
			u.task(key, ids[0], value)
		} else {
			u.worker(key, workerStatus.match(key)[0], value)
		}
	}
	return nil
}

// task takes the current state of a task, at key.
func (u *unfinished) task(key, id string, state crdt.Value) {
	var status, worker string
	_ = state.Field("status").Decode(&status) // a field of another type counts as absent
	_ = state.Field("worker").Decode(&worker)
	delete(u.failed, id)
	if status == "failed" {
		u.failed[id] = struct{}{}
	}
	if worker != "" && slices.Contains(atWork, status) {
		u.working[key] = assignment{worker, id}
	}
}

// worker takes the current status of a worker, at key.
func (u *unfinished) worker(key, id string, status crdt.Value) {
	if len(u.workers) < maxNoted {
		u.workers[id] = struct{}{}
	}
	var s WorkerStatus
	_ = status.Decode(&s) // a status of another form counts as absent
	if s.Running > 0 || s.Task != "" && s.Status != "idle" {
		u.working[key] = assignment{id, s.Task}
	}
}

// Unfinished returns the tasks that failed, and the workers that work on tasks and are unreachable or
// gone, as far as this peer knows. It leaves out a worker that a task names and that never had a
// heartbeat or a status. It fails with agent.ErrClosed.
func (f *Fleet) Unfinished() (Unfinished, error) {
	if f.host.Memory.Closed() {
		return Unfinished{}, memory.ErrClosed
	}
	states := make(map[string]WorkerState)
	for _, h := range f.Workers().heartbeats() {
		states[h.Worker] = Active
		if h.State == gossip.Unreachable {
			states[h.Worker] = Unreachable
		}
	}
	u := &f.unfinished
	u.reading.Lock()
	defer u.reading.Unlock()
	if err := u.read(f.host.Memory); err != nil {
		return Unfinished{}, err
	}
	left := make(map[string]*Abandoned)
	for _, a := range u.working { // sorted below
		state, beats := states[a.worker]
		_, known := u.workers[a.worker]
		switch {
		case state == Active || !beats && !known:
			continue
		case !beats:
			state = Gone
		}
		if left[a.worker] == nil {
			left[a.worker] = &Abandoned{Worker: a.worker, State: state}
		}
		if a.task != "" {
			left[a.worker].Tasks = append(left[a.worker].Tasks, a.task)
		}
	}
	found := Unfinished{Failed: slices.Sorted(maps.Keys(u.failed))}
	for _, worker := range slices.Sorted(maps.Keys(left)) {
		slices.Sort(left[worker].Tasks)
		left[worker].Tasks = slices.Compact(left[worker].Tasks)
		found.Abandoned = append(found.Abandoned, *left[worker])
	}
	return found, nil
}
