package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// TaskState is what the fleet knows of a task. It is an object: each field merges by
// itself, so that edits of different fields on different peers both survive, and a
// field left at its zero value is not written. Any other struct or map may be
// stored instead, or beside it; arrays in it are sets.
type TaskState struct {
	Status   string   `json:"status,omitempty"` // pending, running, completed, failed, or a word of yours
	Worker   string   `json:"worker,omitempty"` // who works on it
	Priority int      `json:"priority,omitempty"`
	Attempt  int      `json:"attempt,omitempty"`
	Labels   []string `json:"labels,omitempty"` // a set: sorted, and united when added to concurrently
	Input    any      `json:"input,omitempty"`
	Result   any      `json:"result,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// TaskProgress is how far a task is. Its fields are the last written.
type TaskProgress struct {
	Progress float64 `json:"progress"` // 0 to 1
	Status   string  `json:"status,omitempty"`
}

// Tasks is what the fleet knows of its tasks. Make one with Agent.Tasks.
type Tasks struct{ f *Fleet }

// TaskStateKey is the key of a task's state: for Watch, for GetAs with a type of
// yours, and for other languages.
func TaskStateKey(id string) string { return taskState.key(id) }

// TaskProgressKey is the key of a task's progress.
func TaskProgressKey(id string) string { return taskProgress.key(id) }

func (t Tasks) states() collection[TaskState] { return collection[TaskState]{t.f, taskState} }
func (t Tasks) progress() collection[TaskProgress] {
	return collection[TaskProgress]{t.f, taskProgress}
}

// SetState merges state, a TaskState or another struct or a map, into the task's
// state; in a map, nil removes a field. The id is one segment of a key.
func (t Tasks) SetState(ctx context.Context, id string, state any, opts ...memory.Option) error {
	return t.states().patch(ctx, state, opts, id)
}

// State returns the task's state, memory.ErrNotFound if there is none. What its slices and
// maps refer to is shared and must not be changed.
func (t Tasks) State(id string) (TaskState, error) { return t.states().get(id) }

// SetProgress says how far the task is: 0 to 1, where 1 is done. What is over 1 is
// percent, up to 100, and kept as a part of 1. An empty status leaves the last one.
func (t Tasks) SetProgress(ctx context.Context, id string, progress float64, status string, opts ...memory.Option) error {
	if !(progress >= 0 && progress <= 100) { // NaN neither
		return fmt.Errorf("task %q: %w", id, &wire.ValueError{Reason: fmt.Sprintf("a progress of %v: want 0 to 1, or percent up to 100", progress)})
	}
	if progress > 1 {
		progress /= 100
	}
	return t.progress().patch(ctx, TaskProgress{progress, status}, opts, id)
}

// Progress returns how far the task is, memory.ErrNotFound if nobody said.
func (t Tasks) Progress(id string) (TaskProgress, error) { return t.progress().get(id) }

// List returns the ids of the tasks that have a state or progress, sorted. It walks
// all keys.
func (t Tasks) List() ([]string, error) {
	var list []string
	add := func(ids []string) { list = append(list, ids[0]) }
	err := errors.Join(taskState.each(t.f.host.Memory, add), taskProgress.each(t.f.host.Memory, add))
	slices.Sort(list)
	return slices.Compact(list), err
}

// Delete removes the task's state, its progress and what agents said of it.
func (t Tasks) Delete(ctx context.Context, id string) error {
	if err := taskState.check(id); err != nil {
		return err
	}
	keys := []string{taskState.key(id), taskProgress.key(id)}
	err := taskAgent.each(t.f.host.Memory, func(ids []string) {
		if ids[0] == id {
			keys = append(keys, taskAgent.key(ids...))
		}
	})
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
