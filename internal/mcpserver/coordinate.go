package mcpserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	defaultQueue = "tasks"
	defaultHold  = 10 * time.Minute // how long a task is held unless the call says
	maxHold      = time.Hour
)

func workerList(c *call) (fields, error) {
	q := url.Values{}
	for _, name := range []string{"state", "label"} {
		if s := c.text(name); s != "" {
			q.Set(name, s)
		}
	}
	if free := c.text("free"); free == "true" {
		q.Set("free", "1")
	} else if free != "" && free != "false" {
		q.Set("free", strconv.Itoa(c.whole("free", 0, 0, 1<<31-1)))
	}
	q.Set("after", c.text("cursor"))
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("worker_list", api.Request{Query: q}, nil)
	if err != nil {
		return nil, err
	}
	list := res.Body.(api.List[api.Worker])
	shown, more := []any{}, list.Next
	room := budget
	for i, w := range list.Items {
		entry := any(w)
		if printed(w) > 2*maxShown {
			entry = fields{"id", w.ID, "state", w.State, "free", w.Free, "truncated", true}
		}
		if room -= printed(entry) + 1; room < 0 {
			more = list.Items[i-1].ID
			break
		}
		shown = append(shown, entry)
	}
	return cut(fields{"workers", shown, "count", *list.Count}, more), nil
}

// cut adds to an answer the cursor with which the next call goes on, if there is one.
func cut(out fields, next string) fields {
	if next != "" {
		out = append(out, "truncated", true, "next_cursor", next)
	}
	return out
}

// fitting returns how many elements of a list fit in an answer with room bytes left.
func fitting[T any](list []T, room int) int {
	for i, x := range list {
		if room -= printed(x) + 1; room < 0 {
			return i
		}
	}
	return len(list)
}

func agentCoordinate(c *call) (fields, error) {
	task, cursor := c.required("task"), c.text("cursor")
	name := cmp.Or(c.text("agent"), c.writer.Client)
	if c.fault != nil {
		return nil, c.fault
	}
	out := fields{"task", task, "agent", name}
	if c.has("data") {
		raw := c.given["data"]
		if text := plain(raw); json.Valid([]byte(text)) { // the object may come as text
			raw = json.RawMessage(text)
		}
		if _, err := c.do("agent_coordinate", api.Request{ID: task, Agent: name}, raw); err != nil {
			return nil, err
		}
		c.signed(fleet.AgentKey(task, name))
	}
	all, err := c.do("task_get", api.Request{ID: task}, nil)
	var t api.Task
	switch {
	case err == nil:
		t = all.Body.(api.Task)
	case errors.Is(err, agent.ErrNotFound):
	case c.has("data"): // the caller may have the right to write and not to read
		return append(out, "stored", true), nil
	default:
		return nil, err
	}
	agents, last, next := fields{}, "", ""
	room := budget - 3*maxShown
	for _, name := range slices.Sorted(maps.Keys(t.Agents)) {
		if name <= cursor {
			continue
		}
		value, _ := glimpse(t.Agents[name])
		if room -= printed(value) + printed(name); room < 0 && last != "" {
			next = last
			break
		}
		agents, last = append(agents, name, value), name
	}
	out = cut(append(out, "agents", agents, "count", len(t.Agents)), next)
	if t.State != nil {
		value, _ := glimpse(*t.State)
		out = append(out, "state", value)
	}
	if t.Progress != nil {
		value, _ := glimpse(*t.Progress)
		out = append(out, "progress", value)
	}
	return out, nil
}

// seen is a peer as cluster_status shows it.
type seen struct {
	Name     string   `json:"name"`
	State    string   `json:"state"`
	Self     bool     `json:"self,omitempty"`
	Lag      uint64   `json:"lag"`
	Problems []string `json:"problems,omitempty"`
}

func clusterStatus(c *call) (fields, error) { return c.status(), c.fault }

// part returns the elements of a list from the index at that fit, and the index of the rest.
func part[T any](list []T, at, room int) (shown []T, next int) {
	at = min(max(at, 0), len(list))
	n := fitting(list[at:], room)
	return list[at : at+n], at + n
}

func (c *call) status() fields {
	var at [3]int // the parts of the cursor: peers, namespaces, queues
	if s := c.text("cursor"); s != "" {
		if _, err := fmt.Sscanf(s, "%d.%d.%d", &at[0], &at[1], &at[2]); err != nil {
			c.fail("cursor: this is not one that cluster_status returned")
		}
	}
	a := c.s.cfg.Agent
	var all []seen
	if res, err := c.do("members", api.Request{}, nil); err == nil {
		for _, m := range res.Body.(api.List[api.Member]).Items {
			all = append(all, seen{m.Name, m.State, m.Self, m.Lag, m.Problems})
		}
	}
	spaces := c.namespaces()
	var work []api.WorkQueue
	if res, err := c.do("work_queues", api.Request{}, nil); err == nil {
		work = res.Body.(api.List[api.WorkQueue]).Items
	}
	hash, keys := a.Digest()
	v := api.Judge(c.ctx, a, c.s.cfg.Reloads)
	peers, nextPeer := part(all, at[0], budget/4)
	namespaces, nextSpace := part(spaces, at[1], budget/4)
	some, nextQueue := part(work, at[2], budget/4)
	out := fields{"summary", v.Summary, "level", v.Level, "findings", v.Findings[:fitting(v.Findings, budget/5)], "peer", a.Name(), "ready", a.Ready(),
		"peers", peers, "keys", keys, "digest", hash, "namespaces", namespaces, "queues", some}
	if nextPeer < len(all) || nextSpace < len(spaces) || nextQueue < len(work) {
		out = cut(out, fmt.Sprintf("%d.%d.%d", nextPeer, nextSpace, nextQueue))
	}
	return out
}

// count is a namespace and its number of keys.
type count struct {
	Namespace string `json:"namespace"`
	Keys      int    `json:"keys"`
}

// namespaces returns the namespaces that the caller may read, the largest first.
func (c *call) namespaces() []count {
	list, by := []count{}, map[string]int{}
	keys, _ := c.matching(under("")) // a caller that may read nothing gets an empty list
	for _, f := range keys {
		n, _ := nameOf(f.Key)
		by[n]++
	}
	for n, keys := range by {
		list = append(list, count{n, keys})
	}
	slices.SortFunc(list, func(x, y count) int {
		return cmp.Or(cmp.Compare(y.Keys, x.Keys), cmp.Compare(x.Namespace, y.Namespace))
	})
	return list
}
