package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

const (
	tasksPrefix   = "task-sentinel/tasks/"
	workersPrefix = "task-sentinel/workers/"
	queuesPrefix  = "task-sentinel/queues/"
)

// mayRead refuses a key that the grant does not cover.
func (v *view) mayRead(key string) error { return v.grant.Check(api.Right{Verb: api.Read, Key: key}) }

// tasks is the table of tasks, in the order of their ids.
func tasks(v *view) (any, error) {
	type row struct {
		ID, Href          string
		Status, Word      string
		Worker            string
		Percent           float64
		Text              string
		Known             bool // progress
		Holder            string
		Since             string
		Labels            []string
		Error             string
		Priority, Attempt int
	}
	type data struct {
		Rows        []row
		First, Next string
	}
	all, _, err := v.keysFor()
	if err != nil {
		return nil, err
	}
	from := v.query.Get("after")
	if from != "" {
		from = tasksPrefix + from + "/"
	}
	found, more := children(all, tasksPrefix, from, maxRows)
	var d data
	for _, c := range found {
		id := strings.TrimSuffix(c.Name, "/")
		r := row{ID: id, Href: address("/ui/keys", "prefix", c.Path)}
		if s, err := v.agent.Tasks().State(id); err == nil && v.grant.MayRead(agent.TaskStateKey(id)) {
			r.Status, r.Worker, r.Labels, r.Error = s.Status, s.Worker, s.Labels, cut(s.Error, glance)
			r.Priority, r.Attempt = s.Priority, s.Attempt
		}
		if p, err := v.agent.Tasks().Progress(id); err == nil && v.grant.MayRead(agent.TaskProgressKey(id)) {
			r.Known, r.Percent, r.Word = true, percent(p.Progress), p.Status
			r.Text = strconv.FormatFloat(r.Percent, 'f', 0, 64) + " %"
		}
		if h, err := v.agent.Tasks().Holder(id); err == nil && v.grant.MayRead(agent.TaskLockKey(id)) {
			r.Holder = h.Holder
			r.Since = ago(v.now.Sub(lockservice.TokenTime(h.Token)))
		}
		d.Rows = append(d.Rows, r)
	}
	if v.query.Get("after") != "" {
		d.First = "/ui/tasks"
	}
	if more {
		d.Next = address("/ui/tasks", "after", d.Rows[len(d.Rows)-1].ID)
	}
	return d, nil
}

// percent reads a progress that some fleets count to 1 and others to 100.
func percent(p float64) float64 {
	if p <= 1 {
		p *= 100
	}
	return min(max(p, 0), 100)
}

// workers is the table of workers: those that beat, and those that left something behind.
func workers(v *view) (any, error) {
	type row struct {
		agent.Worker
		Level string
		Good  string // for how long its heartbeat is
		Said  string // when it last said something
		Href  string
	}
	type data struct {
		Rows   []row
		Active int
		Free   int
		More   int
	}
	active, err1 := v.agent.Workers().Active()
	unseen, err2 := v.agent.Workers().Unreachable()
	all, _, err3 := v.keysFor()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	list := append(active, unseen...)
	beats := make(map[string]bool)
	for _, w := range list {
		beats[w.ID] = true
	}
	left, _ := children(all, workersPrefix, "", maxRows)
	for _, c := range left {
		if id := strings.TrimSuffix(c.Name, "/"); !beats[id] {
			if w, err := v.agent.Workers().Get(id); err == nil {
				list = append(list, w)
			}
		}
	}
	list = slices.DeleteFunc(list, func(w agent.Worker) bool { return !v.grant.MayRead(workersPrefix + w.ID) })
	var d data
	for _, w := range list {
		if w.State == agent.WorkerActive {
			d.Active++
			d.Free += w.Free()
		}
	}
	slices.SortStableFunc(list, func(x, y agent.Worker) int {
		return cmp.Or(cmp.Compare(level(x.State), level(y.State)), cmp.Compare(x.ID, y.ID))
	})
	d.More = max(len(list)-maxRows, 0)
	for _, w := range list[:len(list)-d.More] {
		r := row{Worker: w, Level: []string{"good", "wait", "none"}[level(w.State)], Href: address("/ui/keys", "prefix", workersPrefix+w.ID+"/")}
		if w.State == agent.WorkerActive {
			r.Good = ago(w.Expires)
		}
		if e, ok := v.agent.Entry(agent.WorkerStatusKey(w.ID)); ok {
			r.Said = ago(v.now.Sub(e.Stamp().Time()))
		}
		d.Rows = append(d.Rows, r)
	}
	return d, nil
}

// level orders workers by how much they are there.
func level(s agent.WorkerState) int {
	return slices.Index([]agent.WorkerState{agent.WorkerActive, agent.WorkerUnreachable, agent.WorkerGone}, s)
}

// queues is the table of work queues, and the head of one of them.
func queues(v *view) (any, error) {
	type bar struct {
		State string
		X, W  float64
	}
	type row struct {
		Name, Href string
		agent.QueueStats
		In, Out string
		Bars    []bar
	}
	type item struct {
		agent.Item
		Text, Age string
	}
	type data struct {
		Rows  []row
		More  int
		Name  string // of the queue whose items are shown
		Items []item
	}
	all, err := do[api.List[api.WorkQueue]](v, "work_queues", api.Request{Query: url.Values{"limit": {strconv.Itoa(maxRows)}}})
	if err != nil {
		return nil, err
	}
	d := data{Name: v.query.Get("name"), More: all.Count - len(all.Items)}
	for _, q := range all.Items {
		r := row{Name: q.Name, Href: address("/ui/queues", "name", q.Name), QueueStats: q.QueueStats}
		r.In = rate(v.samples.recent(func(s sample) uint64 { return s.queues[q.Name].Enqueued }))
		r.Out = rate(v.samples.recent(func(s sample) uint64 { return s.queues[q.Name].Completed }))
		depth := r.Depth
		total, x := float64(depth.Pending+depth.Delayed+depth.Claimed+depth.Dead), 0.0
		for _, part := range []struct {
			state string
			n     int
		}{{"claimed", depth.Claimed}, {"pending", depth.Pending}, {"delayed", depth.Delayed}, {"dead", depth.Dead}} {
			if part.n > 0 {
				w := 100 * float64(part.n) / total
				r.Bars = append(r.Bars, bar{part.state, x, w})
				x += w
			}
		}
		d.Rows = append(d.Rows, r)
	}
	if d.Name == "" {
		return d, nil
	}
	if err := v.mayRead(queuesPrefix + d.Name); err != nil {
		return nil, err
	}
	if !slices.Contains(v.agent.WorkQueues(), d.Name) {
		return nil, fmt.Errorf("queue %q: %w", d.Name, agent.ErrNotFound)
	}
	found, err := v.agent.WorkQueue(d.Name).Peek(20)
	for _, it := range found {
		d.Items = append(d.Items, item{it, preview(it.Value), ago(v.now.Sub(it.Enqueued))})
	}
	return d, err
}

// locks is the table of the leases that this daemon holds for its clients.
func locks(v *view) (any, error) {
	type row struct {
		api.Lease
		Since, Left string
		Href        string
	}
	type data struct {
		Rows  []row
		Count int
		Stats lockservice.Stats
		Quiet string // until this voter takes part
		Worth string // guarantee, where that is not a quorum's
	}
	found, err := do[api.List[api.Lease]](v, "lock_list", api.Request{Query: map[string][]string{"limit": {strconv.Itoa(maxRows)}}})
	if err != nil {
		return nil, err
	}
	d := data{Count: found.Count, Stats: v.agent.Locks().Stats()}
	if d.Stats.Quarantine > 0 {
		d.Quiet = ago(d.Stats.Quarantine)
	}
	if g := v.agent.Locks().Guarantee(); g != lockservice.Quorum {
		d.Worth = g.String()
	}
	for _, l := range found.Items {
		d.Rows = append(d.Rows, row{l, ago(v.now.Sub(lockservice.TokenTime(l.Token))), ago(time.Duration(l.Remaining)), address("/ui/locks", "name", l.Lock)})
	}
	return d, nil
}

// inspectLock asks the voters who holds the lock that the page names.
func inspectLock(v *view) (any, error) {
	type holder struct {
		api.LockHolder
		For, Left string
	}
	type data struct {
		api.LockInfo
		Holders []holder
	}
	name := v.query.Get("name")
	if name == "" {
		return nil, nil
	}
	info, err := do[api.LockInfo](v, "lock_inspect", api.Request{Key: name})
	if err != nil {
		return nil, err
	}
	d := data{LockInfo: info}
	for _, h := range info.Holders {
		d.Holders = append(d.Holders, holder{h, ago(v.now.Sub(h.Since)), ago(time.Duration(h.Remaining))})
	}
	return d, nil
}
