package api

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// Operation is one thing that a client can ask for.
type Operation struct {
	Name    string   // a stable name, such as kv_get
	Method  string   // the HTTP method
	Path    string   // the HTTP path; {key} is the rest of the path, {id} and {agent} are one segment
	Params  []string // parameters of the query; others are refused
	Summary string
	// Right returns the right that a caller needs. If it is nil, every caller may ask, and is
	// shown what it may read.
	Right func(r Request) Right
	// run executes the operation. It is nil for the stream of events, which has no single answer.
	run func(ctx context.Context, a *agent.Agent, r Request) (Response, error)
	shape
}

// shape is what an operation takes and returns, as values of the Go types that it decodes and
// encodes: nil for nothing, anyValue for any JSON.
type shape struct {
	takes any
	needs []string // the required fields of takes; for anyValue one entry says that a body is required
	gives any
	makes bool // the status may be 201; without gives it is 204
	// conditional says that the operation takes If-Match and If-None-Match.
	conditional bool
}

// anyValue is any JSON, such as a key holds.
type anyValue = crdt.Value

var must = []string{""}

// Streams reports whether the operation is the stream of events. Surfaces render it themselves; Do
// does not.
func (op *Operation) Streams() bool { return op.run == nil }

// Do checks the grant of ctx, then runs the operation. The Request needs the fields that the path,
// the query and the body name; Leases for locks; and Longer where the surface limits the time of a
// call.
func (op *Operation) Do(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	if err := op.Check(ctx, r); err != nil {
		return Response{}, err
	}
	if r.Longer == nil {
		r.Longer = func(time.Duration) (context.Context, error) { return ctx, nil }
	}
	return op.run(ctx, a, r)
}

// Check returns a *ForbiddenError if the grant of ctx does not cover the operation.
func (op *Operation) Check(ctx context.Context, r Request) error {
	if op.Right == nil {
		return nil
	}
	return GrantOf(ctx).Check(op.Right(r))
}

// Find returns the operation of a name, nil if there is none.
func Find(name string) *Operation {
	for _, table := range [][]Operation{Operations, unrouted} {
		if i := slices.IndexFunc(table, func(op Operation) bool { return op.Name == name }); i >= 0 {
			return &table[i]
		}
	}
	return nil
}

// Request is a client's request.
type Request struct {
	Key   string
	ID    string // the id of a task, worker or item
	Agent string
	Queue string // the name of a work queue
	Query url.Values
	Body  []byte     // JSON
	If    *Condition // the condition of the write; nil for none
	// Beside adds writes of the surface's own to those of kv_put, kv_delete, counter_add and the deadlines, as one
	// unit and without a right. It may be nil, and is called as a function of Agent.Update.
	Beside func(*agent.Tx)

	// Visit, if it is not nil, gets the keys that kv_find finds, one by one in place of an answer, until
	// it returns false.
	Visit func(Found) bool

	Client  string   // how the surface names the client
	Leases  *Leases  // the leases of the daemon
	Reloads *Reloads // the reloads of the daemon; may be nil
	// Longer returns the context of a request whose client asks to wait longer than usual. It may
	// be nil.
	Longer func(wait time.Duration) (context.Context, error)
}

// Response is the answer to a Request.
type Response struct {
	Created bool
	Empty   bool         // there is nothing to show
	Version crdt.Version // the version of the key; 0 if that makes no sense
	Entry   crdt.Entry   // the entry that kv_get found
	Body    any          // encoded as JSON
}

// BadRequest is the error of a malformed request. It says what is wrong and what is allowed.
type BadRequest struct{ Reason string }

// Error returns the reason.
func (e *BadRequest) Error() string { return e.Reason }

func bad(format string, args ...any) error { return &BadRequest{fmt.Sprintf(format, args...)} }

var (
	writing   = []string{"ttl", "type", "replicas"}
	recording = []string{"ttl", "replicas"} // for records, which have a type already
)

// Operations is the table of the operations over HTTP.
var Operations = []Operation{
	{"kv_get", "GET", "/v1/keys/{key}", []string{"path", "has", "len", "limit", "after"}, "read the value of a key as JSON, or a part: ?path=/a/b of an object, ?has=1 or ?len=true of a set, ?limit=100 for a page of either", on(Read, ofKey), get,
		shape{gives: anyValue{}}},
	{"kv_alternatives", "GET", "/v1/alternatives/{key}", nil, "read the values of other types that were assigned to a key concurrently", on(Read, ofKey), alternatives,
		shape{gives: map[string]anyValue{}}},
	{"kv_put", "PUT", "/v1/keys/{key}", writing, "set a key: ?ttl=30s, ?type=set, ?replicas=2", on(Write, ofKey), put,
		shape{takes: anyValue{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"kv_delete", "DELETE", "/v1/keys/{key}", []string{"replicas"}, "delete a key", on(Write, ofKey), remove,
		shape{gives: Deleted{}, conditional: true}},
	{"kv_list", "GET", "/v1/keys", []string{"match", "limit", "after", "values", "count"}, "list keys that match a glob: ?match=tasks/**, ?limit=, ?values=true, ?count=true", nil, list,
		shape{gives: List[Key]{}}},
	{"kv_patch", "PATCH", "/v1/keys/{key}", recording, "merge fields into an object", on(Write, ofKey), patch,
		shape{takes: map[string]anyValue{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"deadline_get", "GET", "/v1/deadlines/{key}", nil, "read when a key ends", on(Read, ofKey), getDeadline,
		shape{gives: Deadline{}}},
	{"deadline_set", "PUT", "/v1/deadlines/{key}", []string{"ttl", "replicas"}, "make what a key holds end after ?ttl=30s, without writing its value", on(Write, ofKey), setDeadline,
		shape{gives: Deadline{}, conditional: true}},
	{"deadline_delete", "DELETE", "/v1/deadlines/{key}", []string{"replicas"}, "make what a key holds stay, whatever TTL it has", on(Write, ofKey), removeDeadline,
		shape{gives: Deadline{}, conditional: true}},
	{"batch", "POST", "/v1/batch", []string{"replicas"}, `make up to 1,024 writes and checks as one batch: {"operations":[{"op":"put","key":"…","value":…},…]}`, nil, batch,
		shape{takes: batchBody{}, needs: []string{"operations"}, gives: List[Written]{}}},
	{"flush", "POST", "/v1/flush", nil, `send this peer's writes to the others; {"replicas":2,"timeout":"5s"} waits until 2 of them have all`, nil, flush,
		shape{takes: flushBody{}}},
	{"set_update", "POST", "/v1/sets/{key}", nil, `add elements to a set or remove them: {"add":[…],"remove":[…]}`, on(Write, ofKey), updateSet,
		shape{takes: setBody{}, needs: must, gives: Written{}, makes: true}},
	{"counter_add", "POST", "/v1/counters/{key}", nil, `add to a counter, or raise a maximum: {"add":1} or {"max":7}`, on(Write, ofKey), count,
		shape{takes: counterBody{}, needs: must, gives: Written{}, makes: true}},
	{"task_list", "GET", "/v1/tasks", []string{"limit", "after"}, "list tasks with their state and progress", nil, listTasks,
		shape{gives: List[Task]{}}},
	{"task_get", "GET", "/v1/tasks/{id}", nil, "read a task's state, progress, agents and lock", on(Read, ofTask), getTask,
		shape{gives: Task{}}},
	{"task_delete", "DELETE", "/v1/tasks/{id}", nil, "delete a task's state, progress and agents", on(Write, ofTask), deleteTask,
		shape{}},
	{"task_state", "GET", "/v1/tasks/{id}/state", nil, "read the state of a task", on(Read, ofTaskState), getTaskState,
		shape{gives: anyValue{}}},
	{"task_set_state", "PATCH", "/v1/tasks/{id}/state", recording, "merge fields into the state of a task", on(Write, ofTaskState), patchTaskState,
		shape{takes: map[string]anyValue{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"task_progress", "GET", "/v1/tasks/{id}/progress", nil, "read the progress of a task", on(Read, ofTaskProgress), getTaskProgress,
		shape{gives: anyValue{}}},
	{"task_set_progress", "PUT", "/v1/tasks/{id}/progress", recording, `record the progress of a task: {"progress":0.5,"status":"…"}`, on(Write, ofTaskProgress), putTaskProgress,
		shape{takes: progressBody{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"worker_list", "GET", "/v1/workers", []string{"state", "free", "label", "limit", "after"}, "list workers: ?state=active, ?free=1, ?label=gpu", nil, listWorkers,
		shape{gives: List[Worker]{}}},
	{"worker_get", "GET", "/v1/workers/{id}", nil, "read a worker's state and what it reports about itself", on(Read, ofWorker), getWorker,
		shape{gives: Worker{}}},
	{"worker_delete", "DELETE", "/v1/workers/{id}", nil, "remove a worker", on(Write, ofWorker), deleteWorker,
		shape{}},
	{"worker_status", "GET", "/v1/workers/{id}/status", nil, "read what a worker reports about itself", on(Read, ofWorkerStatus), getWorkerStatus,
		shape{gives: anyValue{}}},
	{"worker_set_status", "PUT", "/v1/workers/{id}/status", recording, "record a worker's status", on(Write, ofWorkerStatus), putWorkerStatus,
		shape{takes: anyValue{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"worker_set_capacity", "PUT", "/v1/workers/{id}/capacity", recording, `record how many tasks a worker takes at once: {"capacity":4}`, on(Write, ofWorkerCapacity), putWorkerCapacity,
		shape{takes: capacityBody{}, needs: []string{"capacity"}, gives: Written{}, makes: true, conditional: true}},
	{"worker_heartbeat", "POST", "/v1/workers/{id}/heartbeat", nil, `send a worker's heartbeat through this peer; it holds for 30 s, or with {"ttl":"10s"} for 10 s`, on(Write, ofWorkerHeartbeat), beat,
		shape{takes: beatBody{}}},
	{"agent_list", "GET", "/v1/agents/{id}", []string{"limit", "after"}, "list the agents that take part in a task", on(Read, ofTaskAgents), listAgents,
		shape{gives: List[fleet.TaskAgent]{}}},
	{"agent_get", "GET", "/v1/agents/{id}/{agent}", nil, "read what an agent reports about its part in a task", on(Read, ofAgent), getAgent,
		shape{gives: anyValue{}}},
	{"agent_coordinate", "PATCH", "/v1/agents/{id}/{agent}", recording, "merge fields into what an agent reports about its part in a task", on(Write, ofAgent), patchAgent,
		shape{takes: map[string]anyValue{}, needs: must, gives: Written{}, makes: true, conditional: true}},
	{"queue_get", "GET", "/v1/queue", nil, "read the fleet's queue: pending, processing, fields", on(Read, at(keyspace.Queue)), getQueue,
		shape{gives: Queue{}}},
	{"queue_set", "PUT", "/v1/queue", nil, "replace the fleet's queue as this peer sees it", on(Write, at(keyspace.Queue)), putQueue,
		shape{takes: queueBody{}, needs: must, gives: Written{}}},
	{"assignments_get", "GET", "/v1/queue/assignments", nil, "read which tasks each worker has", on(Read, at(keyspace.Assignments)), getAssignments,
		shape{gives: map[string][]string{}}},
	{"assignments_set", "PATCH", "/v1/queue/assignments", nil, `record which tasks these workers have: {"w1":["t1"]}`, on(Write, at(keyspace.Assignments)), patchAssignments,
		shape{takes: map[string][]string{}, needs: must, gives: Written{}}},
	{"metrics_get", "GET", "/v1/queue/metrics", nil, "read the fleet's metrics", on(Read, at(keyspace.Metrics)), getMetrics,
		shape{gives: map[string]anyValue{}}},
	{"metrics_set", "PATCH", "/v1/queue/metrics", nil, "merge fields into the fleet's metrics", on(Write, at(keyspace.Metrics)), patchMetrics,
		shape{takes: map[string]anyValue{}, needs: must, gives: Written{}}},
	{"lock_acquire", "POST", "/v1/locks/{key}", nil, `acquire a lock: {"ttl":"2s","wait":"30s","shared":false,"client":"nightly backup"}`, on(Lock, ofKey), acquireLock,
		shape{takes: acquireBody{}, gives: Lease{}}},
	{"lock_renew", "PUT", "/v1/locks/{key}", nil, `renew a lease, at any daemon: {"lease":"…"}`, on(Lock, ofKey), renewLock,
		shape{takes: leaseBody{}, needs: []string{"lease"}, gives: Lease{}}},
	{"lock_release", "DELETE", "/v1/locks/{key}", []string{"lease"}, "release a lease, at any daemon: ?lease=, or in the body", on(Lock, ofKey), releaseLock,
		shape{takes: leaseBody{}}},
	{"lock_inspect", "GET", "/v1/locks/{key}", nil, "read the holders and waiters of a lock: from a majority of voters, asked for half a second, or else what is known here", on(Lock, ofKey), inspectLock,
		shape{gives: LockInfo{}}},
	{"lock_list", "GET", "/v1/locks", []string{"limit", "after"}, "list the locks of the cluster with their holders and waiters; all peers are asked, for half a second", nil, listLocks,
		shape{gives: LockList{}}},
	{"work_queues", "GET", "/v1/queues", []string{"limit", "after"}, "list the work queues: the number of items in each state, and what this peer did", nil, listQueues,
		shape{gives: List[WorkQueue]{}}},
	{"work_depth", "GET", "/v1/queues/{queue}", nil, "count the items of a queue in each state", on(Read, ofQueue), queueDepth,
		shape{gives: workqueue.Depth{}}},
	{"work_purge", "DELETE", "/v1/queues/{queue}", []string{"state"}, "remove the items that are pending, delayed or dead, or in the states of ?state=", on(Write, ofQueue), purgeQueue,
		shape{gives: Changed{}}},
	{"work_enqueue", "POST", "/v1/queues/{queue}/items", []string{"replicas"}, `enqueue {"value":…,"priority":0,"delay":"0s","id":"…","max_attempts":5}`, on(Write, ofQueue), enqueue,
		shape{takes: itemBody{}, needs: []string{"value"}, gives: Enqueued{}, makes: true}},
	{"work_peek", "GET", "/v1/queues/{queue}/items", []string{"limit", "state", "after"}, "list the items that are claimed next; with ?state=dead those in a state, with ?state=all all of them, by id", on(Read, ofQueue), peekItems,
		shape{gives: List[workqueue.Item]{}}},
	{"work_claim", "POST", "/v1/queues/{queue}/claim", nil, `claim items: {"wait":"5s","ttl":"10s","max":1}`, on(Write, ofQueue), claimItems,
		shape{takes: claimBody{}, gives: List[Claimed]{}}},
	{"work_item", "GET", "/v1/queues/{queue}/items/{id}", nil, "read an item in any state, with its result", on(Read, ofQueue), getItem,
		shape{gives: workqueue.Item{}}},
	{"work_complete", "POST", "/v1/queues/{queue}/items/{id}/complete", nil, `finish a claim, at any daemon: {"lease","token","result":…}`, on(Write, ofQueue), completeItem,
		shape{takes: verdictBody{}, needs: []string{"lease", "token"}}},
	{"work_fail", "POST", "/v1/queues/{queue}/items/{id}/fail", nil, `report that an item failed, to be tried again later, at any daemon: {"lease","token","error":"…","retry":"10s"}`, on(Write, ofQueue), failItem,
		shape{takes: verdictBody{}, needs: []string{"lease", "token"}}},
	{"work_extend", "POST", "/v1/queues/{queue}/items/{id}/extend", nil, `extend a claim by its TTL, at any daemon: {"lease","token"}`, on(Write, ofQueue), extendItem,
		shape{takes: verdictBody{}, needs: []string{"lease", "token"}, gives: Extended{}}},
	{"work_pause", "POST", "/v1/queues/{queue}/pause", nil, "stop claims until resume", on(Write, ofQueue), pauseQueue,
		shape{}},
	{"work_resume", "POST", "/v1/queues/{queue}/resume", nil, "end a pause or a drain", on(Write, ofQueue), resumeQueue,
		shape{}},
	{"work_drain", "POST", "/v1/queues/{queue}/drain", nil, "refuse new items until resume; the depth says when all are done", on(Write, ofQueue), drainQueue,
		shape{gives: workqueue.Depth{}}},
	{"work_requeue", "POST", "/v1/queues/{queue}/requeue", nil, `try dead items again: all, or {"ids":["…"]}`, on(Write, ofQueue), requeueItems,
		shape{takes: idsBody{}, gives: Changed{}}},
	{"watch", "GET", "/v1/watch", []string{"match", "snapshot", "last_event_id"}, "stream the changes of keys that match a glob, as server-sent events: ?match=, ?snapshot=true", nil, nil,
		shape{gives: Event{}}},
	{"verdict", "GET", "/v1/verdict", nil, "read whether all is well as this peer sees it; if not, what is wrong, why, and what to do", nil, judge,
		shape{gives: verdict.Verdict{}}},
	{"members", "GET", "/v1/members", nil, "list all known peers", nil, members,
		shape{gives: List[Member]{}}},
	{"stats", "GET", "/v1/stats", nil, "read counters and gauges of this peer", nil, stats,
		shape{gives: Stats{}}},
	{"digest", "GET", "/v1/digest", nil, "read a checksum of the state, which is equal on peers that agree", nil, digest,
		shape{gives: Digest{}}},
	{"conflicts", "GET", "/v1/conflicts", []string{"match", "limit"}, "list concurrent writes that lost: ?match=, ?limit=", nil, conflicts,
		shape{gives: List[Conflict]{}}},
	{"forget", "POST", "/v1/forget", nil, `give up on a peer that is down: {"name":"n3"}`, on(Admin, at("")), forget,
		shape{takes: forgetBody{}, needs: []string{"name"}}},
}

// unrouted is the table of operations that HTTP does not have: surfaces use them for their own
// answers.
var unrouted = []Operation{
	{"kv_find", "", "", []string{"match", "after", "limit"}, "read the keys that match a glob", nil, find,
		shape{gives: []Found{}}},
}
