package dashboard

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// bar is a part of a queue's depth.
type bar struct {
	State string
	X, W  float64
}

// item is a row of a work queue.
type item struct {
	workqueue.Item
	Text string
	Age  string // the time since it was enqueued
	Held string // the time since it was last claimed
	Lost bool   // the peer through which it was claimed cannot be reached
}

const maxItems = 20 // the greatest number of items shown for each state

// queues loads the table of work queues, and the items of one of them.
func queues(v *view) (any, error) {
	type row struct {
		Name, Href string
		workqueue.Stats
		In, Out string
		Oldest  string
		Bars    []bar
	}
	type data struct {
		Rows                []row
		More                int
		Name                string // the queue whose items are shown
		Dead, Claimed, Next []item
		Most                int
	}
	all, err := do[api.List[api.WorkQueue]](v, "work_queues", api.Request{Query: url.Values{"limit": {strconv.Itoa(maxRows)}}})
	if err != nil {
		return nil, err
	}
	d := data{Name: v.query.Get("name"), More: *all.Count - len(all.Items), Most: maxItems}
	for _, q := range all.Items {
		r := row{Name: q.Name, Href: address("/ui/queues", "name", q.Name), Stats: q.Stats, Bars: bars(q.Depth), Oldest: "–"}
		r.In = rate(v.samples.recent(func(s sample) uint64 { return s.queues[q.Name].Enqueued }))
		r.Out = rate(v.samples.recent(func(s sample) uint64 { return s.queues[q.Name].Completed }))
		if _, _, oldest, err := v.agent.WorkQueue(q.Name).Survey(0); err == nil && !oldest.IsZero() {
			r.Oldest = ago(v.now.Sub(oldest))
		}
		d.Rows = append(d.Rows, r)
	}
	if d.Name == "" {
		return d, nil
	}
	if err := v.mayRead(keyspace.Queues + d.Name); err != nil {
		return nil, err
	}
	if !slices.Contains(v.agent.WorkQueues(), d.Name) {
		return nil, fmt.Errorf("queue %q: %w", d.Name, agent.ErrNotFound)
	}
	next, err := v.agent.WorkQueue(d.Name).Peek(maxItems)
	if err != nil {
		return nil, err
	}
	claimed, dead, _, err := v.agent.WorkQueue(d.Name).Survey(maxItems)
	up := make(map[string]bool)
	for _, m := range v.agent.Members() {
		up[m.Name] = up[m.Name] || m.State == "alive"
	}
	d.Dead, d.Claimed, d.Next = v.items(dead, up), v.items(claimed, up), v.items(next, up)
	return d, err
}

func (v *view) items(list []workqueue.Item, up map[string]bool) (rows []item) {
	for _, it := range list {
		r := item{Item: it, Text: preview(it.Value), Age: ago(v.now.Sub(it.Enqueued)), Lost: it.Worker != "" && !up[it.Worker]}
		r.Error = cut(it.Error, glance)
		if !it.Claimed.IsZero() {
			r.Held = ago(max(v.now.Sub(it.Claimed), time.Duration(0)))
		}
		rows = append(rows, r)
	}
	return rows
}

// bars returns a bar for each state of items that are not done.
func bars(d workqueue.Depth) (list []bar) {
	total, x := float64(d.Pending+d.Delayed+d.Claimed+d.Dead), 0.0
	for _, part := range []struct {
		state string
		n     int
	}{{"claimed", d.Claimed}, {"pending", d.Pending}, {"delayed", d.Delayed}, {"dead", d.Dead}} {
		if part.n > 0 {
			w := 100 * float64(part.n) / total
			list = append(list, bar{part.state, x, w})
			x += w
		}
	}
	return list
}
