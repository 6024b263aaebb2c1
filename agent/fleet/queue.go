package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// QueueState has the tasks that wait and the tasks that are worked on, each list in order. A scheduler
// reads it with State, changes it, and passes it to SetState, which writes only the differences. Tasks
// that are added on different peers at the same moment are both kept.
type QueueState struct {
	Pending    []string
	Processing []string
	Fields     map[string]any // further fields, which are merged one by one

	read *queueView // the queue that State returned; nil for a state that a program made anew
}

var (
	queueKey       = coordination.key("queue")
	assignmentsKey = coordination.key("assignments")
	metricsKey     = coordination.key("metrics")
)

// The fields of the lists of a QueueState. Each list is a set of pairs [order, task], since a set has
// no order of its own.
const (
	pendingField    = "pending"
	processingField = "processing"
)

// Queue is a handle on the fleet's queue, which a scheduler keeps: the tasks in order, the tasks of
// each worker, and metrics. It is shared data and assigns nothing by itself. Agent.Queue returns it.
type Queue struct{ f *Fleet }

// element is one element of a list of the queue.
type element struct {
	order int64 // the list is sorted by it; a time in microseconds, exact as a JSON number
	task  string
	raw   crdt.Value // the element as it is in the set
}

// queueView is the queue at one moment.
type queueView struct {
	lists  map[string][]element  // sorted by order
	fields map[string]crdt.Value // all fields but the lists
}

// view returns the queue as this peer has it now.
func (q Queue) view() (*queueView, error) {
	v, err := q.f.host.Memory.Typed(queueKey, crdt.Object)
	if err != nil {
		return nil, err
	}
	view := &queueView{lists: map[string][]element{}, fields: map[string]crdt.Value{}}
	if v.IsZero() {
		return view, nil
	}
	if err := v.Decode(&view.fields); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	for _, list := range []string{pendingField, processingField} {
		for _, e := range view.fields[list].Elements() {
			view.lists[list] = append(view.lists[list], elementOf(e))
		}
		delete(view.fields, list)
	}
	return view, nil
}

// elementOf decodes an element. One that is a task without an order, which another program may have
// added, comes first.
func elementOf(raw crdt.Value) element {
	e := element{raw: raw, task: raw.String()}
	id := raw
	if pair := raw.Elements(); len(pair) == 2 {
		_ = pair[0].Decode(&e.order) // an order that is no number counts as 0
		id = pair[1]
	}
	if id.Decode(&e.task) != nil {
		e.task = id.String()
	}
	return e
}

// tasks returns the tasks of a list. A task that was moved on two peers at the same moment is in the
// list twice; only its first element counts.
func (v *queueView) tasks(list string) []string {
	seen := make(map[string]bool)
	var tasks []string
	for _, e := range v.lists[list] {
		if !seen[e.task] {
			seen[e.task] = true
			tasks = append(tasks, e.task)
		}
	}
	return tasks
}

// State returns the queue as this peer has it, empty if it was never written. The caller owns the
// result.
func (q Queue) State() (QueueState, error) {
	view, err := q.view()
	if err != nil {
		return QueueState{}, err
	}
	s := QueueState{Pending: view.tasks(pendingField), Processing: view.tasks(processingField), Fields: map[string]any{}, read: view}
	for name, v := range view.fields {
		s.Fields[name] = v.Any()
	}
	return s, nil
}

// SetState writes the changes that were made to s since State returned it: tasks that were added,
// removed or moved, and fields that were set; nil removes a field. Of tasks that two peers add at the
// same moment, both are kept. A task that this or another peer has removed since State is not added
// again. An s that State did not return replaces the whole queue as this peer has it.
func (q Queue) SetState(ctx context.Context, s QueueState) error {
	now, err := q.view()
	if err != nil {
		return err
	}
	was := s.read
	if was == nil {
		was = now
	}
	var ops []crdt.Op
	for _, list := range []struct {
		name string
		want []string
	}{{pendingField, s.Pending}, {processingField, s.Processing}} {
		more, err := reorder(list.name, was.lists[list.name], now.lists[list.name], list.want, time.Now().UnixMicro())
		if err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		ops = append(ops, more...)
	}
	patch := map[string]any{}
	for name, x := range s.Fields {
		v, err := crdt.ValueOf(x)
		if err != nil {
			return fmt.Errorf("queue: field %q: %w", name, err)
		}
		if name == pendingField || name == processingField {
			return fmt.Errorf("queue: field %q: %w", name, &wire.ValueError{Reason: "the list of that name stands beside the fields"})
		}
		if v != was.fields[name] {
			patch[name] = v
		}
	}
	if s.read == nil {
		for name := range was.fields {
			if _, kept := s.Fields[name]; !kept {
				patch[name] = nil
			}
		}
	}
	if len(patch) > 0 {
		v, err := crdt.ValueOf(patch)
		if err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		ops = append(ops, crdt.Op{Verb: crdt.Patch, Key: queueKey, Value: v})
	}
	return q.write(ctx, ops)
}

// write makes ops one batch. It fails for more than crdt.MaxOps of them.
func (q Queue) write(ctx context.Context, ops []crdt.Op) error {
	if len(ops) == 0 {
		return ctx.Err()
	}
	if len(ops) > crdt.MaxOps {
		return fmt.Errorf("queue: %w", &wire.ValueError{Reason: fmt.Sprintf("%d changes at once; at most %d are allowed", len(ops), crdt.MaxOps)})
	}
	if err := q.f.host.Memory.Write(ctx, memory.Manner{}, ops...); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// Distances between the orders of elements, in microseconds.
const (
	orderStep  = 64      // between tasks that are added together
	orderFront = 1 << 20 // between a new first task and the task behind it
)

// reorder returns the writes that turn a list into want. before is the list that the caller read, now
// the list as this peer has it; micros is the wall clock. A task that keeps its position is not
// written again, since another peer may remove it at this moment and the write would bring it back.
func reorder(list string, before, now []element, want []string, micros int64) ([]crdt.Op, error) {
	old, current := firsts(before), firsts(now)
	want = distinct(want)
	kept := unmoved(before, want)
	stays := func(task string) bool {
		_, known := old[task]
		_, present := current[task]
		return present && (!known || kept[task])
	}
	var next int64                       // order of the nearest task behind that stays, 0 if there is none
	follower := make([]int64, len(want)) // next of each task
	for i, task := range slices.Backward(want) {
		follower[i] = next
		if stays(task) {
			next = current[task].order
		}
	}
	var add, remove []crdt.Value
	out := firsts(before) // tasks whose elements are removed: first all that the caller read
	end := micros         // order behind all elements
	for _, e := range now {
		end = max(end, e.order+orderStep)
	}
	last, squeezed := int64(0), false // order of the task before, and whether it has reached the next one that stays
	for i, task := range want {
		_, known := old[task]
		e, present := current[task]
		delete(out, task)
		if known && !present {
			continue // another peer has removed it
		}
		if stays(task) && !(squeezed && e.order <= last) {
			last, squeezed = e.order, false
			continue
		}
		last = between(last, follower[i], end)
		squeezed = follower[i] != 0 && last >= follower[i]
		v, err := crdt.ValueOf([]any{last, task})
		if err != nil {
			return nil, err
		}
		add = append(add, v)
		out[task] = e // its old element goes
	}
	for _, e := range now {
		if _, gone := out[e.task]; gone {
			remove = append(remove, e.raw)
		}
	}
	// Removals come first, since a moved task may get the very element that it had.
	return append(elementOps(crdt.Remove, list, remove), elementOps(crdt.Add, list, add)...), nil
}

// between returns an order after last and, if there is room, before next. 0 stands for no last or no
// next; end is an order behind all elements.
func between(last, next, end int64) int64 {
	switch {
	case next == 0:
		return max(last+orderStep, end)
	case last == 0:
		return max(next-orderFront, next/2)
	}
	return last + min(orderStep, max((next-last)/2, 1))
}

// elementOps returns the operations that add elements to a list or remove them.
func elementOps(verb crdt.Verb, list string, values []crdt.Value) (ops []crdt.Op) {
	for some := range slices.Chunk(values, crdt.MaxLeaves) {
		ops = append(ops, crdt.Op{Verb: verb, Key: queueKey, Path: []string{list}, Values: some})
	}
	return ops
}

// firsts returns the first element of each task.
func firsts(list []element) map[string]element {
	m := make(map[string]element, len(list))
	for _, e := range slices.Backward(list) {
		m[e.task] = e
	}
	return m
}

// distinct returns tasks without repetitions; the first of equal ones stays.
func distinct(tasks []string) []string {
	seen := make(map[string]bool, len(tasks))
	return slices.DeleteFunc(slices.Clone(tasks), func(t string) bool {
		again := seen[t]
		seen[t] = true
		return again
	})
}

// unmoved returns a largest set of tasks in want that have the same order there as in before: a
// longest increasing subsequence (Schensted 1961). All other tasks have to be written.
func unmoved(before []element, want []string) map[string]bool {
	indexes := make(map[string]int, len(before))
	for i, e := range slices.Backward(before) {
		indexes[e.task] = i
	}
	type link struct {
		task  string
		index int
		prev  *link
	}
	var tails []*link // tails[n] ends the increasing subsequence of n+1 tasks with the least last index
	for _, task := range want {
		i, known := indexes[task]
		if !known {
			continue
		}
		n := sort.Search(len(tails), func(k int) bool { return tails[k].index >= i })
		l := &link{task: task, index: i}
		if n > 0 {
			l.prev = tails[n-1]
		}
		tails = append(tails[:n], append([]*link{l}, tails[min(n+1, len(tails)):]...)...)
	}
	kept := make(map[string]bool, len(tails))
	if len(tails) > 0 {
		for l := tails[len(tails)-1]; l != nil; l = l.prev {
			kept[l.task] = true
		}
	}
	return kept
}

// SetAssignments sets the tasks of each worker in tasks. Workers that are not in it keep their tasks; a
// worker with an empty list loses all of its own. Tasks that another peer assigns to the same worker at
// the same moment are kept as well.
func (q Queue) SetAssignments(ctx context.Context, tasks map[string][]string) error {
	now, err := q.Assignments()
	if err != nil {
		return err
	}
	var ops []crdt.Op
	for _, worker := range slices.Sorted(maps.Keys(tasks)) {
		for _, edit := range []struct {
			verb     crdt.Verb
			of, less []string
		}{{crdt.Remove, now[worker], tasks[worker]}, {crdt.Add, tasks[worker], now[worker]}} {
			op := crdt.Op{Verb: edit.verb, Key: assignmentsKey, Path: []string{worker}}
			for _, task := range distinct(edit.of) {
				if slices.Contains(edit.less, task) {
					continue
				}
				v, err := crdt.ValueOf(task)
				if err != nil {
					return fmt.Errorf("assignments of %q: %w", worker, err)
				}
				op.Values = append(op.Values, v)
			}
			if len(op.Values) > 0 {
				ops = append(ops, op)
			}
		}
	}
	return q.write(ctx, ops)
}

// Assignments returns the tasks of each worker that has any, sorted. The caller owns the map.
func (q Queue) Assignments() (map[string][]string, error) {
	all := map[string][]string{}
	v, err := q.f.host.Memory.Typed(assignmentsKey, crdt.Object)
	if err != nil || v.IsZero() {
		return all, err
	}
	if err := v.Decode(&all); err != nil {
		return nil, fmt.Errorf("assignments: %w", err)
	}
	maps.DeleteFunc(all, func(_ string, tasks []string) bool { return len(tasks) == 0 })
	return all, nil
}

// SetMetrics merges m, a struct or a map, into the metrics of the fleet; nil removes one of them.
func (q Queue) SetMetrics(ctx context.Context, m any) error {
	v, err := crdt.ValueOf(m)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return q.write(ctx, []crdt.Op{{Verb: crdt.Patch, Key: metricsKey, Value: v}})
}

// Metrics returns the metrics of the fleet, empty if none were written. The caller owns the map.
func (q Queue) Metrics() (map[string]any, error) {
	v, err := q.f.host.Memory.Typed(metricsKey, crdt.Object)
	if err != nil || v.IsZero() {
		return map[string]any{}, err
	}
	m, _ := v.Any().(map[string]any)
	return m, nil
}
