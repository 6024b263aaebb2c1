package fleet

import (
	"context"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// AgentInfo is the record of one agent in a task, by which it coordinates with the others. It is an
// object and is merged field by field; an array in it is a set. A program may store fields of its own
// instead, or beside these.
type AgentInfo struct {
	Role     string   `json:"role,omitempty"`
	Status   string   `json:"status,omitempty"`
	Progress float64  `json:"progress,omitempty"`
	Message  string   `json:"message,omitempty"`
	Needs    []string `json:"needs,omitempty"` // names of what the agent waits for, a set
	Output   any      `json:"output,omitempty"`
}

// TaskAgent is the record of an agent in a task, with the agent's name and the time of the record.
type TaskAgent struct {
	Agent string    `json:"agent"`
	At    time.Time `json:"at"` // time of the last write of the record
	AgentInfo
}

// Agents is a handle on the records of agents in tasks. Agent.Agents returns it.
type Agents struct{ f *Fleet }

// AgentKey returns the key of an agent's record in a task.
func AgentKey(task, agent string) string { return taskAgent.key(task, agent) }

func (s Agents) records() collection[AgentInfo] { return collection[AgentInfo]{s.f, taskAgent} }

// SetCoordination merges data, an AgentInfo or another struct or a map, into the record of agent in
// task. task and agent are one segment of a key each. It fails with a *crdt.KeyError and with the
// errors of Agent.Put.
func (s Agents) SetCoordination(ctx context.Context, task, agent string, data any, opts ...memory.Option) error {
	return s.records().patch(ctx, data, opts, task, agent)
}

// Coordination returns the record of agent in task. Its slices and maps are shared and must not be
// changed. It fails with agent.ErrNotFound if there is no record, with a *crdt.KeyError, and with
// agent.ErrClosed.
func (s Agents) Coordination(task, agent string) (AgentInfo, error) {
	return s.records().get(task, agent)
}

// List returns the agents with a record in task, sorted by name. It leaves out records that do not
// decode into an AgentInfo. Its cost grows with the number of the records.
func (s Agents) List(task string) ([]TaskAgent, error) {
	if err := taskState.check(task); err != nil {
		return nil, err
	}
	var list []TaskAgent
	err := taskAgent.each(s.f.host.Memory, func(ids []string) {
		e, ok := s.f.host.Memory.PeekEntry(taskAgent.key(ids...))
		info, err := s.Coordination(ids[0], ids[1])
		if ok && err == nil { // otherwise the record was deleted meanwhile, or has fields of other types
			list = append(list, TaskAgent{ids[1], e.Stamp().Time(), info})
		}
	}, task)
	return list, err
}
