package api

import (
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// on returns the Right of an operation that needs a verb on a key.
func on(verb Verb, key func(Request) string) func(Request) Right {
	return func(r Request) Right { return Right{verb, key(r)} }
}

func at(key string) func(Request) string { return func(Request) string { return key } }

func ofKey(r Request) string             { return r.Key }
func ofTask(r Request) string            { return keyspace.Tasks + r.ID }
func ofTaskState(r Request) string       { return fleet.TaskStateKey(r.ID) }
func ofTaskProgress(r Request) string    { return fleet.TaskProgressKey(r.ID) }
func ofTaskAgents(r Request) string      { return keyspace.Tasks + r.ID + keyspace.Agents }
func ofAgent(r Request) string           { return fleet.AgentKey(r.ID, r.Agent) }
func ofWorker(r Request) string          { return keyspace.Workers + r.ID }
func ofWorkerStatus(r Request) string    { return fleet.WorkerStatusKey(r.ID) }
func ofWorkerCapacity(r Request) string  { return fleet.WorkerCapacityKey(r.ID) }
func ofWorkerHeartbeat(r Request) string { return keyspace.Workers + r.ID + keyspace.Heartbeat }
func ofQueue(r Request) string           { return keyspace.Queues + r.Queue }
