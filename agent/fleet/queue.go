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

// QueueState is which tasks wait and which are worked on, each list in order. Read
// it with State, change it, and hand it back to SetState: that takes over what you
// changed, and keeps what others changed meanwhile.
type QueueState struct {
	Pending    []string
	Processing []string
	Fields     map[string]any // whatever else the fleet keeps there, merged field by field

	read *queueView // what State saw; nil for a state made anew
}

var (
	queueKey       = coordination.key("queue")
	assignmentsKey = coordination.key("assignments")
	metricsKey     = coordination.key("metrics")
)

// The lists of a QueueState. Each is a set of [order, task], for a set has no order
// of its own.
const (
	pendingField    = "pending"
	processingField = "processing"
)

// Queue is the state of the fleet's queue as a scheduler keeps it: what waits, who
// has what, and numbers. It is shared data: it decides nothing. Make one with
// Agent.Queue.
type Queue struct{ f *Fleet }

// place is one element of a list.
type place struct {
	order int64 // microseconds, so that it is exact in JSON too
	task  string
	raw   crdt.Value // the element
}

// queueView is the queue as it was at one moment.
type queueView struct {
	lists  map[string][]place
	fields map[string]crdt.Value
}

func (q Queue) view() (*queueView, error) {
	v, err := q.f.host.Memory.Typed(queueKey, crdt.Object)
	if err != nil {
		return nil, err
	}
	view := &queueView{lists: map[string][]place{}, fields: map[string]crdt.Value{}}
	if v.IsZero() {
		return view, nil
	}
	if err := v.Decode(&view.fields); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	for _, list := range []string{pendingField, processingField} {
		for _, e := range view.fields[list].Elements() {
			view.lists[list] = append(view.lists[list], placeOf(e))
		}
		delete(view.fields, list)
	}
	return view, nil
}

// placeOf reads an element. A bare one, from who knows of no order, comes first.
func placeOf(e crdt.Value) place {
	p := place{raw: e, task: e.String()}
	id := e
	if pair := e.Elements(); len(pair) == 2 {
		_ = pair[0].Decode(&p.order) // none is 0
		id = pair[1]
	}
	if id.Decode(&p.task) != nil {
		p.task = id.String()
	}
	return p
}

// tasks returns a list without what was moved on two peers at once and stands in it
// twice.
func (v *queueView) tasks(list string) []string {
	seen := make(map[string]bool)
	var tasks []string
	for _, p := range v.lists[list] {
		if !seen[p.task] {
			seen[p.task] = true
			tasks = append(tasks, p.task)
		}
	}
	return tasks
}

// State returns the queue as this peer sees it, empty if nobody wrote it. It is the
// caller's.
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

// SetState takes over the changes made to a state since it was read: tasks added,
// taken out or moved, and fields; nil removes a field. A task added here and one
// added on another peer at the same moment are both there; one taken out here stays
// out. A state that was made anew replaces what this peer sees.
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

// write makes ops one unit.
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

// Distances between places, in microseconds.
const (
	orderStep  = 64      // between tasks that come together
	orderFront = 1 << 20 // before the first
)

// reorder returns the writes that turn list, which was and now is, into want. What
// keeps its place is not written again: that would bring back what another peer takes
// out at this moment.
func reorder(list string, was, now []place, want []string, micros int64) ([]crdt.Op, error) {
	before, there := firsts(was), firsts(now)
	want = distinct(want)
	still := unmoved(was, want)
	stays := func(task string) bool {
		_, known := before[task]
		_, present := there[task]
		return present && (!known || still[task])
	}
	var next int64 // of the nearest that stays
	follower := make([]int64, len(want))
	for i, task := range slices.Backward(want) {
		follower[i] = next
		if stays(task) {
			next = there[task].order
		}
	}
	var add, remove []crdt.Value
	out := firsts(was) // what want has no more
	end := micros      // behind all that is there
	for _, p := range now {
		end = max(end, p.order+orderStep)
	}
	last, squeezed := int64(0), false
	for i, task := range want {
		_, known := before[task]
		p, present := there[task]
		delete(out, task)
		if known && !present {
			continue // somebody else took it out
		}
		if stays(task) && !(squeezed && p.order <= last) {
			last, squeezed = p.order, false
			continue
		}
		last = between(last, follower[i], end)
		squeezed = follower[i] != 0 && last >= follower[i]
		v, err := crdt.ValueOf([]any{last, task})
		if err != nil {
			return nil, err
		}
		add = append(add, v)
		out[task] = p // from its old place
	}
	for _, p := range now {
		if _, gone := out[p.task]; gone {
			remove = append(remove, p.raw)
		}
	}
	// What comes back at the very place it had is removed before it is added.
	return append(elementOps(crdt.Remove, list, remove), elementOps(crdt.Add, list, add)...), nil
}

// between returns a place after last and, if there is room, before next; 0 is none.
func between(last, next, end int64) int64 {
	switch {
	case next == 0:
		return max(last+orderStep, end)
	case last == 0:
		return max(next-orderFront, next/2)
	}
	return last + min(orderStep, max((next-last)/2, 1))
}

func elementOps(verb crdt.Verb, list string, values []crdt.Value) (ops []crdt.Op) {
	for some := range slices.Chunk(values, crdt.MaxLeaves) {
		ops = append(ops, crdt.Op{Verb: verb, Key: queueKey, Path: []string{list}, Values: some})
	}
	return ops
}

// firsts returns the first place of each task.
func firsts(list []place) map[string]place {
	m := make(map[string]place, len(list))
	for _, p := range slices.Backward(list) {
		m[p.task] = p
	}
	return m
}

func distinct(tasks []string) []string {
	seen := make(map[string]bool, len(tasks))
	return slices.DeleteFunc(slices.Clone(tasks), func(t string) bool {
		again := seen[t]
		seen[t] = true
		return again
	})
}

// unmoved returns as many of the tasks in want as still stand in the order they had
// in was: a longest increasing subsequence (Schensted 1961).
func unmoved(was []place, want []string) map[string]bool {
	at := make(map[string]int, len(was))
	for i, p := range slices.Backward(was) {
		at[p.task] = i
	}
	type link struct {
		task string
		at   int
		prev *link
	}
	var tails []*link // the best end of a run of each length
	for _, task := range want {
		i, known := at[task]
		if !known {
			continue
		}
		n := sort.Search(len(tails), func(k int) bool { return tails[k].at >= i })
		l := &link{task: task, at: i}
		if n > 0 {
			l.prev = tails[n-1]
		}
		tails = append(tails[:n], append([]*link{l}, tails[min(n+1, len(tails)):]...)...)
	}
	still := make(map[string]bool, len(tails))
	if len(tails) > 0 {
		for l := tails[len(tails)-1]; l != nil; l = l.prev {
			still[l.task] = true
		}
	}
	return still
}

// SetAssignments says which tasks each of these workers has. Workers that are not
// named keep theirs; one with no tasks loses them. Tasks that another peer gives the
// same worker at this moment are added to them.
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

// Assignments returns which tasks each worker has, sorted. It is the caller's.
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

// SetMetrics merges m, a struct or a map, into the fleet's numbers; nil removes one.
func (q Queue) SetMetrics(ctx context.Context, m any) error {
	v, err := crdt.ValueOf(m)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return q.write(ctx, []crdt.Op{{Verb: crdt.Patch, Key: metricsKey, Value: v}})
}

// Metrics returns the fleet's numbers, none if nobody wrote them. The map is the
// caller's.
func (q Queue) Metrics() (map[string]any, error) {
	v, err := q.f.host.Memory.Typed(metricsKey, crdt.Object)
	if err != nil || v.IsZero() {
		return map[string]any{}, err
	}
	m, _ := v.Any().(map[string]any)
	return m, nil
}
