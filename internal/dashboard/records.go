package dashboard

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// mayRead refuses a key that the grant does not cover.
func (v *view) mayRead(key string) error { return v.grant.Check(api.Right{Verb: api.Read, Key: key}) }

// percent returns a progress in percent. Some fleets count it up to 1 and others up to 100.
func percent(p float64) float64 {
	if p <= 1 {
		p *= 100
	}
	return min(max(p, 0), 100)
}

// workers loads the table of workers: those with heartbeats, and those that left records behind.
func workers(v *view) (any, error) {
	type row struct {
		fleet.Worker
		Level string
		Good  string // the time until its heartbeat expires
		Said  string // the time since its last report
		Href  string
		Left  []string // its tasks, if the worker is unreachable or gone
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
	left, _ := children(all, keyspace.Workers, "", maxRows)
	for _, c := range left {
		if id := strings.TrimSuffix(c.Name, "/"); !beats[id] {
			if w, err := v.agent.Workers().Get(id); err == nil {
				list = append(list, w)
			}
		}
	}
	list = slices.DeleteFunc(list, func(w fleet.Worker) bool { return !v.grant.MayRead(keyspace.Workers + w.ID) })
	unfinished, err := v.agent.Unfinished()
	if err != nil {
		return nil, err
	}
	inHand := make(map[string][]string)
	for _, w := range unfinished.Abandoned {
		inHand[w.Worker] = w.Tasks
	}
	var d data
	for _, w := range list {
		if w.State == fleet.Active {
			d.Active++
			d.Free += w.Free()
		}
	}
	slices.SortStableFunc(list, func(x, y fleet.Worker) int {
		return cmp.Or(cmp.Compare(level(x.State), level(y.State)), cmp.Compare(x.ID, y.ID))
	})
	d.More = max(len(list)-maxRows, 0)
	for _, w := range list[:len(list)-d.More] {
		r := row{Worker: w, Level: []string{"good", "wait", "none"}[level(w.State)], Href: address("/ui/keys", "prefix", keyspace.Workers+w.ID+"/"), Left: v.readableTasks(inHand[w.ID])}
		if w.State == fleet.Active {
			r.Good = ago(w.Expires)
		}
		if e, ok := v.agent.Entry(fleet.WorkerStatusKey(w.ID)); ok {
			r.Said = ago(v.now.Sub(e.Stamp().Time()))
		}
		d.Rows = append(d.Rows, r)
	}
	return d, nil
}

// level orders workers by their state: active, unreachable, gone.
func level(s fleet.WorkerState) int {
	return slices.Index([]fleet.WorkerState{fleet.Active, fleet.Unreachable, fleet.Gone}, s)
}
