package api

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Operation is one thing a client can ask for.
type Operation struct {
	Name    string   // stable: kv_get
	Method  string   // of HTTP
	Path    string   // of HTTP; {key} stands for the rest of the path, {id} and {agent} for one segment
	Params  []string // of the query; others are refused
	Summary string
	// Run does it. The stream of events, which is no request and answer, has none.
	Run func(ctx context.Context, a *agent.Agent, r Request) (Response, error)
}

// Request is what a client gave.
type Request struct {
	Key    string
	ID     string // of a task or worker
	Agent  string
	Queue  string // of work
	Query  url.Values
	Body   []byte // JSON
	If     *crdt.Version
	Absent bool // only if there is nothing yet

	Leases *Leases // of the daemon
	// Longer returns the context of a request whose client asks to wait so long, in
	// place of the usual one.
	Longer func(wait time.Duration) context.Context
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
	{"kv_get", "GET", "/v1/keys/{key}", nil, "the value of a key, as JSON", get},
	{"kv_alternatives", "GET", "/v1/alternatives/{key}", nil, "what a key holds of other types, assigned at the same moment", alternatives},
	{"kv_put", "PUT", "/v1/keys/{key}", writing, "assign a key: ?ttl=30s, ?type=set, ?replicas=2", put},
	{"kv_delete", "DELETE", "/v1/keys/{key}", []string{"replicas"}, "delete a key", remove},
	{"kv_list", "GET", "/v1/keys", []string{"match", "limit", "after", "values"}, "keys that match a glob: ?match=tasks/**, ?limit=, ?values=true", list},
	{"kv_patch", "PATCH", "/v1/keys/{key}", recording, "merge fields into an object", patch},
	{"set_update", "POST", "/v1/sets/{key}", nil, `add to and remove from a set: {"add":[…],"remove":[…]}`, updateSet},
	{"counter_add", "POST", "/v1/counters/{key}", nil, `count, or raise a maximum: {"add":1} or {"max":7}`, count},
	{"task_list", "GET", "/v1/tasks", []string{"limit", "after"}, "tasks with their state and progress", listTasks},
	{"task_get", "GET", "/v1/tasks/{id}", nil, "all that is known of a task", getTask},
	{"task_delete", "DELETE", "/v1/tasks/{id}", nil, "delete a task's state, progress and agents", deleteTask},
	{"task_state", "GET", "/v1/tasks/{id}/state", nil, "the state of a task", getTaskState},
	{"task_set_state", "PATCH", "/v1/tasks/{id}/state", recording, "merge fields into the state of a task", patchTaskState},
	{"task_progress", "GET", "/v1/tasks/{id}/progress", nil, "how far a task is", getTaskProgress},
	{"task_set_progress", "PUT", "/v1/tasks/{id}/progress", recording, `say how far a task is: {"progress":0.5,"status":"…"}`, putTaskProgress},
	{"worker_list", "GET", "/v1/workers", []string{"state", "free", "label"}, "workers: ?state=active, ?free=1, ?label=gpu", listWorkers},
	{"worker_get", "GET", "/v1/workers/{id}", nil, "a worker: whether it is there, and what it says of itself", getWorker},
	{"worker_delete", "DELETE", "/v1/workers/{id}", nil, "take a worker out", deleteWorker},
	{"worker_status", "GET", "/v1/workers/{id}/status", nil, "what a worker says of itself", getWorkerStatus},
	{"worker_set_status", "PUT", "/v1/workers/{id}/status", recording, "say how a worker is", putWorkerStatus},
	{"worker_set_capacity", "PUT", "/v1/workers/{id}/capacity", recording, `say how many tasks a worker takes at once: {"capacity":4}`, putWorkerCapacity},
	{"worker_heartbeat", "POST", "/v1/workers/{id}/heartbeat", nil, `a worker's sign of life through this peer, for 30 s or {"ttl":"10s"}`, beat},
	{"agent_list", "GET", "/v1/agents/{id}", nil, "the agents that have a part in a task", listAgents},
	{"agent_get", "GET", "/v1/agents/{id}/{agent}", nil, "what an agent tells of its part in a task", getAgent},
	{"agent_coordinate", "PATCH", "/v1/agents/{id}/{agent}", recording, "merge fields into what an agent tells of its part in a task", patchAgent},
	{"queue_get", "GET", "/v1/queue", nil, "the fleet's queue: pending, processing, fields", getQueue},
	{"queue_set", "PUT", "/v1/queue", nil, "replace the fleet's queue as this peer sees it", putQueue},
	{"assignments_get", "GET", "/v1/queue/assignments", nil, "which tasks each worker has", getAssignments},
	{"assignments_set", "PATCH", "/v1/queue/assignments", nil, `say which tasks these workers have: {"w1":["t1"]}`, patchAssignments},
	{"metrics_get", "GET", "/v1/queue/metrics", nil, "the fleet's numbers", getMetrics},
	{"metrics_set", "PATCH", "/v1/queue/metrics", nil, "merge into the fleet's numbers", patchMetrics},
	{"lock_acquire", "POST", "/v1/locks/{key}", nil, `take a lock: {"ttl":"2s","wait":"30s","shared":false}`, acquireLock},
	{"lock_renew", "PUT", "/v1/locks/{key}", nil, `renew a lease: {"lease":"…"}`, renewLock},
	{"lock_release", "DELETE", "/v1/locks/{key}", []string{"lease"}, "release a lease: ?lease=, or in the body", releaseLock},
	{"lock_inspect", "GET", "/v1/locks/{key}", nil, "who holds a lock, asked of a majority of voters", inspectLock},
	{"lock_list", "GET", "/v1/locks", []string{"limit"}, "the leases this daemon holds for its clients", listLocks},
	{"work_queues", "GET", "/v1/queues", nil, "the queues of work: how many items are in each state, and what this peer did", listQueues},
	{"work_depth", "GET", "/v1/queues/{queue}", nil, "how many items of a queue are in each state", queueDepth},
	{"work_purge", "DELETE", "/v1/queues/{queue}", []string{"state"}, "remove the items that are pending, delayed and dead, or ?state=", purgeQueue},
	{"work_enqueue", "POST", "/v1/queues/{queue}/items", []string{"replicas"}, `enqueue {"value":…,"priority":0,"delay":"0s","id":"…","max_attempts":5}`, enqueue},
	{"work_peek", "GET", "/v1/queues/{queue}/items", []string{"limit"}, "the first items that may be claimed", peekItems},
	{"work_claim", "POST", "/v1/queues/{queue}/claim", nil, `claim items: {"wait":"5s","ttl":"10s","max":1}`, claimItems},
	{"work_item", "GET", "/v1/queues/{queue}/items/{id}", nil, "an item in whatever state, with its result", getItem},
	{"work_complete", "POST", "/v1/queues/{queue}/items/{id}/complete", nil, `finish a claim: {"lease","token","result":…}`, completeItem},
	{"work_fail", "POST", "/v1/queues/{queue}/items/{id}/fail", nil, `have an item tried again later: {"lease","token","error":"…","retry":"10s"}`, failItem},
	{"work_extend", "POST", "/v1/queues/{queue}/items/{id}/extend", nil, `extend a claim by its ttl: {"lease","token"}`, extendItem},
	{"work_pause", "POST", "/v1/queues/{queue}/pause", nil, "have nothing claimed", pauseQueue},
	{"work_resume", "POST", "/v1/queues/{queue}/resume", nil, "end a pause or a drain", resumeQueue},
	{"work_drain", "POST", "/v1/queues/{queue}/drain", nil, "have nothing enqueued; the depth says when all is done", drainQueue},
	{"work_requeue", "POST", "/v1/queues/{queue}/requeue", nil, `try dead items again, all or {"ids":["…"]}`, requeueItems},
	{"watch", "GET", "/v1/watch", []string{"match", "snapshot", "last_event_id"}, "server-sent events of keys that match a glob: ?match=, ?snapshot=true", nil},
	{"members", "GET", "/v1/members", nil, "all known peers", members},
	{"stats", "GET", "/v1/stats", nil, "counters and gauges of this peer", stats},
	{"digest", "GET", "/v1/digest", nil, "checksum of the state: equal on peers that agree", digest},
	{"conflicts", "GET", "/v1/conflicts", []string{"match", "limit"}, "concurrent writes that lost: ?match=, ?limit=", conflicts},
	{"forget", "POST", "/v1/forget", nil, `give up on a peer that is down: {"name":"n3"}`, forget},
}
