package fleet

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// Host has the parts of a peer that its Fleet uses. Package agent fills it.
type Host struct {
	Name         string // of the peer and of its worker
	Memory       *memory.Memory
	Locks        *lockservice.Session
	DefaultTTL   time.Duration            // TTL of statuses and capacities that are written without one; none if negative
	HeartbeatTTL time.Duration            // how long a heartbeat is good
	NameOf       func(clock.Actor) string // name of the peer that writes as an actor
	Go           func(f func())           // runs f on a goroutine that the peer waits for
	Log          *slog.Logger
}

// Fleet reads and writes the records of the fleet at one peer. Package agent makes it and passes it
// the changes of keys. Programs use the handles that an agent returns.
type Fleet struct {
	host       Host
	unfinished unfinished
	holds      holds
}

// New returns the Fleet of a peer.
func New(h Host) *Fleet {
	return &Fleet{host: h, holds: holds{leases: make(map[string]*lockservice.Lease)}}
}

// Tasks returns a handle on the tasks of the fleet.
func (f *Fleet) Tasks() Tasks { return Tasks{f} }

// Agents returns a handle on the records of agents in tasks.
func (f *Fleet) Agents() Agents { return Agents{f} }

// Workers returns a handle on the workers of the fleet.
func (f *Fleet) Workers() Workers { return Workers{f} }

// Queue returns a handle on the fleet's queue.
func (f *Fleet) Queue() Queue { return Queue{f} }

// Changed takes the changes of keys. The peer's loop calls it with every change, in order.
func (f *Fleet) Changed(changes []crdt.Change) {
	for i := range changes {
		f.unfinished.note(changes[i].Key)
	}
}

// End makes later calls of Tasks.AcquireLock fail, and returns the ids of the tasks whose locks are
// held here.
func (f *Fleet) End() []string { return f.holds.end() }

// Farewell ends the heartbeats of all workers that beat through this peer. It returns the writes that
// delete the status and the capacity of the peer's own worker and the holders of the locks of tasks,
// up to crdt.MaxOps.
func (f *Fleet) Farewell(r *replica.Replica, now time.Time, tasks []string) []crdt.Op {
	r.ReleaseAll(now)
	ops := removal(r, now, f.host.Name)
	for _, id := range tasks[:min(len(tasks), crdt.MaxOps-len(ops))] { // records beyond the bound expire by themselves
		ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: taskLock.key(id)})
	}
	return ops
}

// holds are the leases of the locks of tasks that are held here.
type holds struct {
	mu     sync.Mutex                    // guards the fields below
	ended  bool                          // end was called
	leases map[string]*lockservice.Lease // by the id of the task
}

// add keeps the lease of a task and calls start. It returns false after end, when the lease has ended
// too.
func (h *holds) add(task string, lease *lockservice.Lease, start func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.leases[task] = lease
	start() // with mu held: the peer calls end before it waits for what start starts
	return true
}

// of returns the lease of a task, nil if its lock is not held here.
func (h *holds) of(task string) *lockservice.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leases[task]
}

// drop forgets a lease that has ended. After end the lease stays, so that the task's holder finds it
// and can unlock it.
func (h *holds) drop(task string, lease *lockservice.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leases[task] == lease && !h.ended {
		delete(h.leases, task)
	}
}

// end makes add return false from now on, and returns the ids of the tasks, sorted.
func (h *holds) end() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	return slices.Sorted(maps.Keys(h.leases))
}

// The types of an agent's events for changes of records, by a write here or by a merge.
const (
	TaskStateSynced    = "task-state-synced"    // the state of a task changed
	WorkerStatusSynced = "worker-status-synced" // the status of a worker changed
	AgentCoordinated   = "agent-coordinated"    // the record of an agent in a task changed
	QueueSynced        = "queue-synced"         // the fleet's queue, its assignments or its metrics changed
)

// Event returns the type of the event for a change of key, and the ids in key, joined by '/'. Both are
// empty if there is no event for changes of key.
func Event(key string) (event, ids string) {
	for _, r := range []struct {
		form
		event string
	}{{taskState, TaskStateSynced}, {workerStatus, WorkerStatusSynced}, {taskAgent, AgentCoordinated}, {coordination, QueueSynced}} {
		if ids := r.match(key); ids != nil {
			return r.event, strings.Join(ids, "/")
		}
	}
	return "", ""
}
