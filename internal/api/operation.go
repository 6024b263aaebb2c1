package api

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// Operation is one thing a client can ask for.
type Operation struct {
	Name    string   // stable: kv_get
	Method  string   // of HTTP
	Path    string   // of HTTP; {key} stands for the rest of the path, {id} and {agent} for one segment
	Params  []string // of the query; others are refused
	Summary string
	// Right is what a caller needs. Without one all may ask, and are shown what they may
	// read.
	Right func(r Request) Right
	// run does it. The stream of events, which is no request and answer, has none.
	run func(ctx context.Context, a *agent.Agent, r Request) (Response, error)
}

// Streams says whether the operation is the stream of events, which surfaces render by
// themselves and Do does not.
func (op *Operation) Streams() bool { return op.run == nil }

// Do checks the grant of ctx, then runs the operation. Of a Request it needs what the
// path, the query and the body name; Leases for locks; Longer where the surface bounds
// how long a call may take.
func (op *Operation) Do(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	if op.Right != nil {
		if err := GrantOf(ctx).Check(op.Right(r)); err != nil {
			return Response{}, err
		}
	}
	if r.Longer == nil {
		r.Longer = func(time.Duration) (context.Context, error) { return ctx, nil }
	}
	return op.run(ctx, a, r)
}

// Find returns the operation of this name, nil if there is none.
func Find(name string) *Operation {
	i := slices.IndexFunc(Operations, func(op Operation) bool { return op.Name == name })
	if i < 0 {
		return nil
	}
	return &Operations[i]
}

// Request is what a client gave.
type Request struct {
	Key   string
	ID    string // of a task or worker
	Agent string
	Queue string // of work
	Query url.Values
	Body  []byte     // JSON
	If    *Condition // of the write; nil is none

	Client string  // who asks, as the surface names it
	Leases *Leases // of the daemon
	// Longer returns the context of a request whose client asks to wait so long, in
	// place of the usual one. It may be nil.
	Longer func(wait time.Duration) (context.Context, error)
}

// Response is what it gets.
type Response struct {
	Created bool
	Empty   bool         // nothing to show
	Version crdt.Version // of the key, 0 if that makes no sense
	Body    any          // to be encoded as JSON
}

// BadRequest says what a client got wrong, and what is allowed.
type BadRequest struct{ Reason string }

// Error returns the reason.
func (e *BadRequest) Error() string { return e.Reason }

func bad(format string, args ...any) error { return &BadRequest{fmt.Sprintf(format, args...)} }

var (
	writing   = []string{"ttl", "type", "replicas"}
	recording = []string{"ttl", "replicas"} // what has a type already
)

// Operations is the table.
var Operations = []Operation{
	{"kv_get", "GET", "/v1/keys/{key}", nil, "the value of a key, as JSON", on(Read, ofKey), get},
	{"kv_alternatives", "GET", "/v1/alternatives/{key}", nil, "what a key holds of other types, assigned at the same moment", on(Read, ofKey), alternatives},
	{"kv_put", "PUT", "/v1/keys/{key}", writing, "assign a key: ?ttl=30s, ?type=set, ?replicas=2", on(Write, ofKey), put},
	{"kv_delete", "DELETE", "/v1/keys/{key}", []string{"replicas"}, "delete a key", on(Write, ofKey), remove},
	{"kv_list", "GET", "/v1/keys", []string{"match", "limit", "after", "values"}, "keys that match a glob: ?match=tasks/**, ?limit=, ?values=true", nil, list},
	{"kv_patch", "PATCH", "/v1/keys/{key}", recording, "merge fields into an object", on(Write, ofKey), patch},
	{"batch", "POST", "/v1/batch", []string{"replicas"}, `up to 1,024 writes as one unit: {"operations":[{"op":"put","key":"…","value":…},…]}`, nil, batch},
	{"flush", "POST", "/v1/flush", nil, `hand all that was written here to the peers: {"replicas":2,"timeout":"5s"} waits until so many have it`, nil, flush},
	{"set_update", "POST", "/v1/sets/{key}", nil, `add to and remove from a set: {"add":[…],"remove":[…]}`, on(Write, ofKey), updateSet},
	{"counter_add", "POST", "/v1/counters/{key}", nil, `count, or raise a maximum: {"add":1} or {"max":7}`, on(Write, ofKey), count},
	{"task_list", "GET", "/v1/tasks", []string{"limit", "after"}, "tasks with their state and progress", nil, listTasks},
	{"task_get", "GET", "/v1/tasks/{id}", nil, "all that is known of a task", on(Read, ofTask), getTask},
	{"task_delete", "DELETE", "/v1/tasks/{id}", nil, "delete a task's state, progress and agents", on(Write, ofTask), deleteTask},
	{"task_state", "GET", "/v1/tasks/{id}/state", nil, "the state of a task", on(Read, ofTaskState), getTaskState},
	{"task_set_state", "PATCH", "/v1/tasks/{id}/state", recording, "merge fields into the state of a task", on(Write, ofTaskState), patchTaskState},
	{"task_progress", "GET", "/v1/tasks/{id}/progress", nil, "how far a task is", on(Read, ofTaskProgress), getTaskProgress},
	{"task_set_progress", "PUT", "/v1/tasks/{id}/progress", recording, `say how far a task is: {"progress":0.5,"status":"…"}`, on(Write, ofTaskProgress), putTaskProgress},
	{"worker_list", "GET", "/v1/workers", []string{"state", "free", "label", "limit", "after"}, "workers: ?state=active, ?free=1, ?label=gpu", nil, listWorkers},
	{"worker_get", "GET", "/v1/workers/{id}", nil, "a worker: whether it is there, and what it says of itself", on(Read, ofWorker), getWorker},
	{"worker_delete", "DELETE", "/v1/workers/{id}", nil, "take a worker out", on(Write, ofWorker), deleteWorker},
	{"worker_status", "GET", "/v1/workers/{id}/status", nil, "what a worker says of itself", on(Read, ofWorkerStatus), getWorkerStatus},
	{"worker_set_status", "PUT", "/v1/workers/{id}/status", recording, "say how a worker is", on(Write, ofWorkerStatus), putWorkerStatus},
	{"worker_set_capacity", "PUT", "/v1/workers/{id}/capacity", recording, `say how many tasks a worker takes at once: {"capacity":4}`, on(Write, ofWorkerCapacity), putWorkerCapacity},
	{"worker_heartbeat", "POST", "/v1/workers/{id}/heartbeat", nil, `a worker's sign of life through this peer, for 30 s or {"ttl":"10s"}`, on(Write, ofWorkerHeartbeat), beat},
	{"agent_list", "GET", "/v1/agents/{id}", []string{"limit", "after"}, "the agents that have a part in a task", on(Read, ofTaskAgents), listAgents},
	{"agent_get", "GET", "/v1/agents/{id}/{agent}", nil, "what an agent tells of its part in a task", on(Read, ofAgent), getAgent},
	{"agent_coordinate", "PATCH", "/v1/agents/{id}/{agent}", recording, "merge fields into what an agent tells of its part in a task", on(Write, ofAgent), patchAgent},
	{"queue_get", "GET", "/v1/queue", nil, "the fleet's queue: pending, processing, fields", on(Read, at(keyspace.Queue)), getQueue},
	{"queue_set", "PUT", "/v1/queue", nil, "replace the fleet's queue as this peer sees it", on(Write, at(keyspace.Queue)), putQueue},
	{"assignments_get", "GET", "/v1/queue/assignments", nil, "which tasks each worker has", on(Read, at(keyspace.Assignments)), getAssignments},
	{"assignments_set", "PATCH", "/v1/queue/assignments", nil, `say which tasks these workers have: {"w1":["t1"]}`, on(Write, at(keyspace.Assignments)), patchAssignments},
	{"metrics_get", "GET", "/v1/queue/metrics", nil, "the fleet's numbers", on(Read, at(keyspace.Metrics)), getMetrics},
	{"metrics_set", "PATCH", "/v1/queue/metrics", nil, "merge into the fleet's numbers", on(Write, at(keyspace.Metrics)), patchMetrics},
	{"lock_acquire", "POST", "/v1/locks/{key}", nil, `take a lock: {"ttl":"2s","wait":"30s","shared":false,"client":"nightly backup"}`, on(Lock, ofKey), acquireLock},
	{"lock_renew", "PUT", "/v1/locks/{key}", nil, `renew a lease, at any daemon: {"lease":"…"}`, on(Lock, ofKey), renewLock},
	{"lock_release", "DELETE", "/v1/locks/{key}", []string{"lease"}, "release a lease, at any daemon: ?lease=, or in the body", on(Lock, ofKey), releaseLock},
	{"lock_inspect", "GET", "/v1/locks/{key}", nil, "who holds a lock: what a majority of voters says within half a second or, where none answers, what is known here; and who waits", on(Lock, ofKey), inspectLock},
	{"lock_list", "GET", "/v1/locks", []string{"limit", "after"}, "the locks of the cluster: who holds them and who waits, asked of all peers for up to half a second", nil, listLocks},
	{"work_queues", "GET", "/v1/queues", []string{"limit", "after"}, "the queues of work: how many items are in each state, and what this peer did", nil, listQueues},
	{"work_depth", "GET", "/v1/queues/{queue}", nil, "how many items of a queue are in each state", on(Read, ofQueue), queueDepth},
	{"work_purge", "DELETE", "/v1/queues/{queue}", []string{"state"}, "remove the items that are pending, delayed and dead, or ?state=", on(Write, ofQueue), purgeQueue},
	{"work_enqueue", "POST", "/v1/queues/{queue}/items", []string{"replicas"}, `enqueue {"value":…,"priority":0,"delay":"0s","id":"…","max_attempts":5}`, on(Write, ofQueue), enqueue},
	{"work_peek", "GET", "/v1/queues/{queue}/items", []string{"limit"}, "the first items that may be claimed", on(Read, ofQueue), peekItems},
	{"work_claim", "POST", "/v1/queues/{queue}/claim", nil, `claim items: {"wait":"5s","ttl":"10s","max":1}`, on(Write, ofQueue), claimItems},
	{"work_item", "GET", "/v1/queues/{queue}/items/{id}", nil, "an item in whatever state, with its result", on(Read, ofQueue), getItem},
	{"work_complete", "POST", "/v1/queues/{queue}/items/{id}/complete", nil, `finish a claim, at any daemon: {"lease","token","result":…}`, on(Write, ofQueue), completeItem},
	{"work_fail", "POST", "/v1/queues/{queue}/items/{id}/fail", nil, `have an item tried again later, at any daemon: {"lease","token","error":"…","retry":"10s"}`, on(Write, ofQueue), failItem},
	{"work_extend", "POST", "/v1/queues/{queue}/items/{id}/extend", nil, `extend a claim by its ttl, at any daemon: {"lease","token"}`, on(Write, ofQueue), extendItem},
	{"work_pause", "POST", "/v1/queues/{queue}/pause", nil, "have nothing claimed", on(Write, ofQueue), pauseQueue},
	{"work_resume", "POST", "/v1/queues/{queue}/resume", nil, "end a pause or a drain", on(Write, ofQueue), resumeQueue},
	{"work_drain", "POST", "/v1/queues/{queue}/drain", nil, "have nothing enqueued; the depth says when all is done", on(Write, ofQueue), drainQueue},
	{"work_requeue", "POST", "/v1/queues/{queue}/requeue", nil, `try dead items again, all or {"ids":["…"]}`, on(Write, ofQueue), requeueItems},
	{"watch", "GET", "/v1/watch", []string{"match", "snapshot", "last_event_id"}, "server-sent events of keys that match a glob: ?match=, ?snapshot=true", nil, nil},
	{"verdict", "GET", "/v1/verdict", nil, "whether all is well as this peer sees it, what is not, why, and what to do", nil, judge},
	{"members", "GET", "/v1/members", nil, "all known peers", nil, members},
	{"stats", "GET", "/v1/stats", nil, "counters and gauges of this peer", nil, stats},
	{"digest", "GET", "/v1/digest", nil, "checksum of the state: equal on peers that agree", nil, digest},
	{"conflicts", "GET", "/v1/conflicts", []string{"match", "limit"}, "concurrent writes that lost: ?match=, ?limit=", nil, conflicts},
	{"forget", "POST", "/v1/forget", nil, `give up on a peer that is down: {"name":"n3"}`, on(Admin, at("")), forget},
}
