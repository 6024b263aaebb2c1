package fleet

import (
	"context"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
)

// AgentInfo is what one agent tells the others of its part in a task. It is an
// object, merged field by field, and any other struct or map may be stored instead,
// or beside it; arrays in it are sets.
type AgentInfo struct {
	Role     string   `json:"role,omitempty"`
	Status   string   `json:"status,omitempty"`
	Progress float64  `json:"progress,omitempty"`
	Message  string   `json:"message,omitempty"`
	Needs    []string `json:"needs,omitempty"` // what it waits for, a set
	Output   any      `json:"output,omitempty"`
}

// TaskAgent is an agent that has a part in a task.
type TaskAgent struct {
	Agent string    `json:"agent"`
	At    time.Time `json:"at"` // when it last told something
	AgentInfo
}

// Agents is how agents that share a task coordinate. Make one with Agent.Agents.
type Agents struct{ f *Fleet }

// AgentKey is the key of what an agent tells of its part in a task.
func AgentKey(task, agent string) string { return taskAgent.key(task, agent) }

func (s Agents) records() collection[AgentInfo] { return collection[AgentInfo]{s.f, taskAgent} }

// SetCoordination merges data, an AgentInfo or another struct or a map, into what
// agent tells of its part in task. Both ids are one segment of a key each.
func (s Agents) SetCoordination(ctx context.Context, task, agent string, data any, opts ...memory.Option) error {
	return s.records().patch(ctx, data, opts, task, agent)
}

// Coordination returns what agent tells of its part in task, memory.ErrNotFound if nothing.
// What its slices and maps refer to is shared and must not be changed.
func (s Agents) Coordination(task, agent string) (AgentInfo, error) {
	return s.records().get(task, agent)
}

// List returns the agents that have a part in task, by name. It walks all keys.
func (s Agents) List(task string) ([]TaskAgent, error) {
	if err := taskState.check(task); err != nil {
		return nil, err
	}
	var list []TaskAgent
	err := taskAgent.each(s.f.host.Memory, func(ids []string) {
		if ids[0] != task {
			return
		}
		e, ok := s.f.host.Memory.PeekEntry(taskAgent.key(ids...))
		info, err := s.Coordination(ids[0], ids[1])
		if ok && err == nil { // else it went, or is of a form of its own: then use Get
			list = append(list, TaskAgent{ids[1], e.Stamp().Time(), info})
		}
	})
	return list, err
}
