package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// TaskState is the state of a task. It is an object and is merged field by field, so that edits of
// different fields on different peers are both kept; an array in it is a set. A field with its zero
// value is not written. A program may store fields of its own instead, or beside these.
type TaskState struct {
	Status   string   `json:"status,omitempty"` // pending, running, completed, failed, or another word
	Worker   string   `json:"worker,omitempty"` // id of the worker that works on it
	Priority int      `json:"priority,omitempty"`
	Attempt  int      `json:"attempt,omitempty"`
	Labels   []string `json:"labels,omitempty"` // a set; sorted when it is read
	Input    any      `json:"input,omitempty"`
	Result   any      `json:"result,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// TaskProgress is the progress of a task. Of concurrent writes to a field the last one wins.
type TaskProgress struct {
	Progress float64 `json:"progress"` // 0 to 1
	Status   string  `json:"status,omitempty"`
}

// Tasks is a handle on the tasks of the fleet. Agent.Tasks returns it.
type Tasks struct{ f *Fleet }

// TaskStateKey returns the key of a task's state: for Watch, for GetAs with another type, and for
// programs in other languages.
func TaskStateKey(id string) string { return taskState.key(id) }

// TaskProgressKey returns the key of a task's progress.
func TaskProgressKey(id string) string { return taskProgress.key(id) }

func (t Tasks) states() collection[TaskState] { return collection[TaskState]{t.f, taskState} }
func (t Tasks) progress() collection[TaskProgress] {
	return collection[TaskProgress]{t.f, taskProgress}
}

// SetState merges state, a TaskState or another struct or a map, into the state of the task; in a map,
// nil removes a field. The id is one segment of a key. It fails with a *crdt.KeyError and with the
// errors of Agent.Put.
func (t Tasks) SetState(ctx context.Context, id string, state any, opts ...memory.Option) error {
	return t.states().patch(ctx, state, opts, id)
}

// State returns the state of the task. Its slices and maps are shared and must not be changed. It fails
// with agent.ErrNotFound if there is none.
func (t Tasks) State(id string) (TaskState, error) { return t.states().get(id) }

// SetProgress sets the progress of the task: 0 to 1, where 1 is done. A number over 1 is taken as a
// percentage, up to 100, and stored as a fraction. An empty status leaves the status as it is.
func (t Tasks) SetProgress(ctx context.Context, id string, progress float64, status string, opts ...memory.Option) error {
	if !(progress >= 0 && progress <= 100) { // written so that NaN is refused
		return fmt.Errorf("task %q: %w", id, &wire.ValueError{Reason: fmt.Sprintf("a progress of %v: want 0 to 1, or percent up to 100", progress)})
	}
	if progress > 1 {
		progress /= 100
	}
	return t.progress().patch(ctx, TaskProgress{progress, status}, opts, id)
}

// Progress returns the progress of the task. It fails with agent.ErrNotFound if none was set.
func (t Tasks) Progress(id string) (TaskProgress, error) { return t.progress().get(id) }

// List returns the ids of the tasks that have a state or progress, sorted. Its cost grows with
// the number of keys of all tasks.
func (t Tasks) List() (list []string, err error) {
	err = t.Walk(context.Background(), "", func(id string) bool {
		list = append(list, id)
		return true
	})
	slices.Sort(list)
	return list, err
}

// Walk calls visit for the ids of the tasks that have a state or progress, until visit returns
// false. Tasks come in the order of their keys, which is that of their ids with a slash behind
// each. The walk begins behind the task after, if that is not empty. Its cost grows with the
// number of keys of the tasks that it visits. It fails with memory.ErrClosed and when ctx ends.
func (t Tasks) Walk(ctx context.Context, after string, visit func(id string) bool) error {
	m := t.f.host.Memory
	if m.Closed() {
		return memory.ErrClosed
	}
	tasks := crdt.StartingWith(keyspace.Tasks)
	if after != "" {
		tasks.From = max(tasks.From, crdt.StartingWith(keyspace.Tasks+after+"/").To)
	}
	last := ""
	named := func(key string) bool { return taskState.match(key) != nil || taskProgress.match(key) != nil }
	return m.Walk(ctx, []crdt.KeyRange{tasks}, named, func(key string, _ crdt.Entry) bool {
		id, _, _ := strings.Cut(key[len(keyspace.Tasks):], "/")
		if id == last { // by its other key
			return true
		}
		last = id
		return visit(id)
	})
}

// Delete removes the state of the task, its progress, and the records of agents in it. It is one batch only up to crdt.MaxOps records.
func (t Tasks) Delete(ctx context.Context, id string) error {
	if err := taskState.check(id); err != nil {
		return err
	}
	keys := []string{taskState.key(id), taskProgress.key(id)}
	err := taskAgent.each(t.f.host.Memory, func(ids []string) { keys = append(keys, taskAgent.key(ids...)) }, id)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(keys, crdt.MaxOps) {
		ops := make([]crdt.Op, len(some))
		for i, key := range some {
			ops[i] = crdt.Op{Verb: crdt.Delete, Key: key}
		}
		if err := t.f.host.Memory.Write(ctx, memory.Manner{}, ops...); err != nil {
			return fmt.Errorf("delete task %q: %w", id, err)
		}
	}
	return nil
}
