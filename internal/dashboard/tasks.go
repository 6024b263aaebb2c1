package dashboard

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// task is a row of the table of tasks.
type task struct {
	ID, Href  string
	State     fleet.TaskState // empty if the caller may not read it
	Percent   float64
	Text      string // Percent as text
	Word      string // the status in the progress
	Known     bool   // there is a progress
	Holder    string
	Since     string
	Error     string
	Age       string // the time since its state changed
	Abandoned bool   // its worker is unreachable or gone
	changed   time.Time
}

// tasks loads the table of tasks: all of them by id, page by page, or those that match a filter, in
// the chosen order.
func tasks(v *view) (any, error) {
	type data struct {
		Rows        []task
		First, Next string
		Count       int // the number of tasks that match, shown or not
		Filtered    bool
	}
	f, err := readFilter(v)
	if err != nil {
		return nil, err
	}
	all, _, err := v.keysFor()
	if err != nil {
		return nil, err
	}
	left, err := v.agent.Unfinished()
	if err != nil {
		return nil, err
	}
	abandoned := make(map[string]bool)
	for _, w := range left.Abandoned {
		for _, id := range w.Tasks {
			abandoned[id] = true
		}
	}
	from, most := v.query.Get("after"), maxRows
	if from != "" {
		from = keyspace.Tasks + from + "/"
	}
	if f.active() {
		from, most = "", len(all)
	}
	found, more := children(all, keyspace.Tasks, from, most)
	d := data{Filtered: f.active()}
	for _, c := range found {
		t := v.task(strings.TrimSuffix(c.Name, "/"))
		if t.Abandoned = abandoned[t.ID]; f.lets(&t) {
			d.Count++
			d.Rows = f.insert(d.Rows, t)
		}
	}
	for i := range d.Rows {
		v.complete(&d.Rows[i])
	}
	if v.query.Get("after") != "" {
		d.First = "/ui/tasks"
	}
	if more {
		d.Next = address("/ui/tasks", "after", d.Rows[len(d.Rows)-1].ID)
	}
	return d, nil
}

// filter says which tasks are shown, and in which order.
type filter struct {
	text  string // a part of the id, status, worker, label or error, ignoring case
	which string // failed, running, abandoned, or "" for all
	order string // oldest or newest first, or "" for by id
}

func readFilter(v *view) (filter, error) {
	f := filter{strings.ToLower(v.query.Get("q")), v.query.Get("which"), v.query.Get("order")}
	switch {
	case len(f.text) > maxQuery:
		return f, &badQuery{"the text to filter by is over 1,024 bytes long"}
	case !slices.Contains([]string{"", "failed", "running", "abandoned"}, f.which):
		return f, &badQuery{"which: want failed, running or abandoned"}
	case !slices.Contains([]string{"", "oldest", "newest"}, f.order):
		return f, &badQuery{"order: want oldest or newest"}
	}
	return f, nil
}

func (f filter) active() bool { return f != filter{} }

func (f filter) lets(t *task) bool {
	switch {
	case f.which == "abandoned" && !t.Abandoned:
		return false
	case (f.which == "failed" || f.which == "running") && t.State.Status != f.which:
		return false
	}
	text := []string{t.ID, t.State.Status, t.State.Worker, t.State.Error, strings.Join(t.State.Labels, " ")}
	return f.text == "" || strings.Contains(strings.ToLower(strings.Join(text, "\n")), f.text)
}

// insert puts a task at its place among the first rows of the order.
func (f filter) insert(rows []task, t task) []task {
	at, _ := slices.BinarySearchFunc(rows, t, func(x, y task) int {
		switch f.order {
		case "oldest":
			return cmp.Or(x.changed.Compare(y.changed), cmp.Compare(x.ID, y.ID))
		case "newest":
			return cmp.Or(y.changed.Compare(x.changed), cmp.Compare(x.ID, y.ID))
		}
		return cmp.Compare(x.ID, y.ID)
	})
	if at >= maxRows {
		return rows
	}
	rows = slices.Insert(rows, at, t)
	return rows[:min(len(rows), maxRows)]
}

// task returns the fields of a task that a filter reads.
func (v *view) task(id string) task {
	t := task{ID: id}
	if !v.grant.MayRead(fleet.TaskStateKey(id)) {
		return t
	}
	t.State, _ = v.agent.Tasks().State(id) // on an error there is none
	if e, ok := v.agent.Entry(fleet.TaskStateKey(id)); ok {
		t.changed = e.Stamp().Time()
	}
	return t
}

// complete adds the other fields of a row.
func (v *view) complete(t *task) {
	t.Href, t.Error = address("/ui/keys", "prefix", keyspace.Tasks+t.ID+"/"), cut(t.State.Error, glance)
	if !t.changed.IsZero() {
		t.Age = ago(v.now.Sub(t.changed))
	}
	if p, err := v.agent.Tasks().Progress(t.ID); err == nil && v.grant.MayRead(fleet.TaskProgressKey(t.ID)) {
		t.Known, t.Percent, t.Word = true, percent(p.Progress), p.Status
		t.Text = strconv.FormatFloat(t.Percent, 'f', 0, 64) + " %"
	}
	if h, err := v.agent.Tasks().Holder(t.ID); err == nil && v.grant.MayRead(fleet.TaskLockKey(t.ID)) {
		t.Holder, t.Since = h.Holder, ago(v.now.Sub(lockservice.TokenTime(h.Token)))
	}
}

// readableTasks returns those of the tasks that the caller may read.
func (v *view) readableTasks(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !v.grant.MayRead(keyspace.Tasks + id) })
}
