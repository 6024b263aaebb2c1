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

// Unfinished is the work of the fleet that somebody should look at.
type Unfinished struct {
	Failed    []string    // ids of the tasks whose status is failed, sorted
	Abandoned []Abandoned // by worker
}

// Abandoned is a worker that has work in hand and is out of sight or gone.
type Abandoned struct {
	Worker string
	State  WorkerState // Unreachable or Gone
	Tasks  []string    // sorted: those whose state names it as at work, and the one it last spoke of; none if it told a number only
}

// atWork are the words of a task's status by which its worker has it in hand.
var atWork = []string{"running", "in_progress", "in-progress", "claimed"}

// unfinished is what this peer knows of work at a glance. The loop notes which keys
// changed, and who looks reads those: a look walks all keys only if very much has changed
// since the one before.
type unfinished struct {
	mu      sync.Mutex          // guards changed and missed: the loop takes it, so nobody walks the store with it
	changed map[string]struct{} // task states and worker statuses that were not read yet
	missed  bool                // more changed than is kept: all are to be read

	reading sync.Mutex          // guards what follows: the loop never takes it
	failed  map[string]struct{} // tasks
	hands   map[string]hand     // by key
	workers map[string]struct{} // that are there, or have been
}

// hand is a task that a worker has in hand.
type hand struct{ worker, task string }

// maxNoted bounds the keys that are noted, and the workers that are remembered.
const maxNoted = 1 << 14

// note takes that a key has changed.
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
	u.changed[strings.Clone(key)] = struct{}{} // a key of a change keeps its frame alive
}

// take returns the keys that have changed since it was last called, and whether more did.
func (u *unfinished) take() (changed map[string]struct{}, missed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	changed, missed = u.changed, u.missed
	u.changed, u.missed = nil, false
	return changed, missed
}

// read takes in what has changed, with reading held.
func (u *unfinished) read(m *memory.Memory) error {
	changed, missed := u.take()
	if missed || u.failed == nil {
		u.failed = nil // if the walk fails, the next read walks again
		changed = make(map[string]struct{})
		for _, f := range []form{taskState, workerStatus} {
			if err := f.each(m, func(ids []string) { changed[f.key(ids...)] = struct{}{} }); err != nil {
				return err
			}
		}
		u.failed, u.hands, u.workers = make(map[string]struct{}), make(map[string]hand), make(map[string]struct{})
	}
	for key := range changed { // each for itself: no order
		delete(u.hands, key)
		value, _ := m.Peek(key)
		if ids := taskState.match(key); ids != nil {
			u.task(key, ids[0], value)
		} else {
			u.worker(key, workerStatus.match(key)[0], value)
		}
	}
	return nil
}

func (u *unfinished) task(key, id string, state crdt.Value) {
	var status, worker string
	_ = state.Field("status").Decode(&status) // of another form it says nothing here
	_ = state.Field("worker").Decode(&worker)
	delete(u.failed, id)
	if status == "failed" {
		u.failed[id] = struct{}{}
	}
	if worker != "" && slices.Contains(atWork, status) {
		u.hands[key] = hand{worker, id}
	}
}

func (u *unfinished) worker(key, id string, status crdt.Value) {
	if len(u.workers) < maxNoted {
		u.workers[id] = struct{}{}
	}
	var said WorkerStatus
	_ = status.Decode(&said) // likewise
	if said.Running > 0 || said.Task != "" && said.Status != "idle" {
		u.hands[key] = hand{id, said.Task}
	}
}

// Unfinished returns which tasks failed and which are in the hands of workers that are
// out of sight or gone, as far as this peer has heard. A worker that never beat nor said
// anything is nobody that this peer could miss.
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
	for _, h := range u.hands { // sorted below
		state, beats := states[h.worker]
		_, known := u.workers[h.worker]
		switch {
		case state == Active || !beats && !known:
			continue
		case !beats:
			state = Gone
		}
		if left[h.worker] == nil {
			left[h.worker] = &Abandoned{Worker: h.worker, State: state}
		}
		if h.task != "" {
			left[h.worker].Tasks = append(left[h.worker].Tasks, h.task)
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
