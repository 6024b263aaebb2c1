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

// Host is what the records need of the peer that they are read and written through.
// Package agent fills it.
type Host struct {
	Name         string
	Memory       *memory.Memory
	Locks        *lockservice.Session
	DefaultTTL   time.Duration // of signs of life that are written without one; none if negative
	HeartbeatTTL time.Duration
	NameOf       func(clock.Actor) string
	Go           func(f func()) // runs f on a goroutine that the peer waits for
	Log          *slog.Logger
}

// Fleet is the records of the fleet at one peer. Package agent makes it and feeds it;
// programs use the handles of an agent.
type Fleet struct {
	host       Host
	unfinished unfinished
	holds      holds
}

// New returns the records at a peer.
func New(h Host) *Fleet {
	return &Fleet{host: h, holds: holds{leases: make(map[string]*lockservice.Lease)}}
}

// Tasks returns the tasks of the fleet.
func (f *Fleet) Tasks() Tasks { return Tasks{f} }

// Agents returns the coordination of agents.
func (f *Fleet) Agents() Agents { return Agents{f} }

// Workers returns the workers of the fleet.
func (f *Fleet) Workers() Workers { return Workers{f} }

// Queue returns the state of the fleet's queue.
func (f *Fleet) Queue() Queue { return Queue{f} }

// Changed hears of every change, in its turn.
func (f *Fleet) Changed(changes []crdt.Change) {
	for i := range changes {
		f.unfinished.note(changes[i].Key)
	}
}

// End takes no more locks of tasks, and returns the tasks that are held here.
func (f *Fleet) End() []string { return f.holds.end() }

// Farewell ends the life of every worker that beats through this peer, and returns the
// writes that take back what its own worker said of itself and of the tasks it held.
func (f *Fleet) Farewell(r *replica.Replica, now time.Time, tasks []string) []crdt.Op {
	r.ReleaseAll(now)
	ops := removal(r, now, f.host.Name)
	for _, id := range tasks[:min(len(tasks), crdt.MaxOps-len(ops))] { // of more than that, the records expire
		ops = append(ops, crdt.Op{Verb: crdt.Delete, Key: taskLock.key(id)})
	}
	return ops
}

// holds are the leases of tasks that are held here.
type holds struct {
	mu     sync.Mutex // guards what follows
	ended  bool       // nothing is held any more
	leases map[string]*lockservice.Lease
}

// add notes the lease of a task and starts what goes with it; or it is too late, and the
// lease has ended.
func (h *holds) add(task string, lease *lockservice.Lease, start func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.leases[task] = lease
	start() // under the lock: not after Close began to wait
	return true
}

func (h *holds) of(task string) *lockservice.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leases[task]
}

func (h *holds) drop(task string, lease *lockservice.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leases[task] == lease && !h.ended { // else its holder is to unlock it
		delete(h.leases, task)
	}
}

func (h *holds) end() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	return slices.Sorted(maps.Keys(h.leases))
}

// What a change of a record is called among the events of an agent.
const (
	TaskStateSynced    = "task-state-synced"    // of a task, here or by a merge
	WorkerStatusSynced = "worker-status-synced" // of a worker
	AgentCoordinated   = "agent-coordinated"    // in a task, by an agent: task/agent
	QueueSynced        = "queue-synced"         // queue, assignments or metrics
)

// Event says what a change of key is called, and whom it is about; "" if key is no record
// of which changes are told.
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
