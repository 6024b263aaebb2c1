package api

import "github.com/sentinel-peer/sentinel-peer/agent"

// Where the records of package agent lie that have no key of their own.
const (
	tasksPrefix    = "task-sentinel/tasks/"
	workersPrefix  = "task-sentinel/workers/"
	queuesPrefix   = "task-sentinel/queues/"
	queueKey       = "task-sentinel/coordination/queue"
	assignmentsKey = "task-sentinel/coordination/assignments"
	metricsKey     = "task-sentinel/coordination/metrics"
)

// on makes the Right of an operation: a verb and the key it needs it on.
func on(verb Verb, key func(Request) string) func(Request) Right {
	return func(r Request) Right { return Right{verb, key(r)} }
}

func at(key string) func(Request) string { return func(Request) string { return key } }

func ofKey(r Request) string             { return r.Key }
func ofTask(r Request) string            { return tasksPrefix + r.ID }
func ofTaskState(r Request) string       { return agent.TaskStateKey(r.ID) }
func ofTaskProgress(r Request) string    { return agent.TaskProgressKey(r.ID) }
func ofTaskAgents(r Request) string      { return tasksPrefix + r.ID + "/agents" }
func ofAgent(r Request) string           { return agent.AgentKey(r.ID, r.Agent) }
func ofWorker(r Request) string          { return workersPrefix + r.ID }
func ofWorkerStatus(r Request) string    { return agent.WorkerStatusKey(r.ID) }
func ofWorkerCapacity(r Request) string  { return agent.WorkerCapacityKey(r.ID) }
func ofWorkerHeartbeat(r Request) string { return workersPrefix + r.ID + "/heartbeat" }
func ofQueue(r Request) string           { return queuesPrefix + r.Queue }
