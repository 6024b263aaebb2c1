package mcpserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	defaultQueue = "tasks"
	maxHold      = time.Hour
)

func taskAdd(c *call) (fields, error) {
	if !c.has("value") {
		c.fail("value is missing")
	}
	queue := cmp.Or(c.text("queue"), defaultQueue)
	body := map[string]any{"value": c.given["value"], "id": c.text("id"), "priority": int(c.number("priority", 0)),
		"delay": c.seconds("delay_s", 0, agent.MaxItemDelay).String(), "max_attempts": int(max(c.number("max_attempts", 0), 0))}
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("work_enqueue", api.Request{Queue: queue}, body)
	if err != nil {
		return nil, err
	}
	made := res.Body.(api.Enqueued)
	return fields{"queue", queue, "task", made.ID, "added", !made.Duplicate, "duplicate", made.Duplicate}, nil
}

func taskClaim(c *call) (fields, error) {
	queue := cmp.Or(c.text("queue"), defaultQueue)
	wait, last := c.seconds("wait_s", 0, maxWait), c.seconds("hold_s", 10*time.Minute, maxHold)
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("work_claim", api.Request{Queue: queue}, map[string]any{"wait": wait.String(), "max": 1})
	if err != nil {
		return nil, err
	}
	items := res.Body.(api.List[api.Claimed]).Items
	if len(items) == 0 {
		return fields{"queue", queue, "claimed", false, "hint", "nothing to do now; call again with wait_s"}, nil
	}
	x := items[0]
	ttl := time.Duration(x.Remaining)
	claim := rand.Text() // the lease is the peer's, the same for all its claims
	h := &hold{queue: queue, id: x.ID, lease: x.Lease, token: x.Token, last: last}
	request, body := api.Request{Queue: queue, ID: x.ID}, map[string]any{"lease": x.Lease, "token": x.Token}
	again := c.later("work_extend", request, body)
	lost := map[string]any{"lease": x.Lease, "token": x.Token, "error": "its agent is gone, or was silent for too long", "retry": "0s"}
	giveUp := c.later("work_fail", request, lost)
	if err := c.s.hold(c.from, claim, h, ttl, again, giveUp); err != nil {
		return nil, errors.Join(err, giveUp(c.ctx))
	}
	out := fields{"queue", queue, "claimed", true, "task", x.ID}
	if value := shown(x.Value); printed(value, 1) <= budget {
		out = append(out, "value", value)
	} else {
		out = append(out, "value", fits(plain(value), budget/2)+"…", "truncated", true)
	}
	return append(out, "claim", claim, "attempt", x.Attempt, "token", x.Token, "hold_s", last.Seconds()), nil
}

// later makes an operation one that runs after its call, which was allowed it.
func (c *call) later(name string, r api.Request, body any) func(context.Context) error {
	s := c.s
	return func(ctx context.Context) (err error) {
		defer s.recovered(name, &err)
		_, err = (&call{s: s, ctx: ctx}).do(name, r, body)
		return err
	}
}

func taskComplete(c *call) (fields, error) {
	claim := c.required("claim")
	if c.fault != nil {
		return nil, c.fault
	}
	h, ok := c.s.holds.find(claim, c.from)
	if !ok || h.queue == "" {
		return nil, agent.ErrClaimLost
	}
	name, body := "work_complete", map[string]any{"lease": h.lease, "token": h.token}
	if c.has("error") {
		name = "work_fail"
		body["error"] = shorten(c.text("error"), 4<<10)
		if !c.flag("retry", true) {
			body["retry"] = "never"
		}
	} else if c.has("result") {
		body["result"] = c.given["result"]
	}
	if c.fault != nil {
		return nil, c.fault
	}
	_, err := c.do(name, api.Request{Queue: h.queue, ID: h.id}, body)
	if err == nil || errors.Is(err, agent.ErrClaimLost) {
		c.s.holds.drop(claim, h)
	}
	if err != nil {
		return nil, err
	}
	return fields{"queue", h.queue, "task", h.id, "completed", name == "work_complete"}, nil
}

func taskProgress(c *call) (fields, error) {
	id := c.required("task")
	body := map[string]any{"progress": c.number("progress", 0), "status": c.text("status")}
	if c.fault != nil {
		return nil, c.fault
	}
	out := fields{"task", id}
	if claim := c.text("claim"); claim != "" {
		h, ok := c.s.holds.find(claim, c.from)
		if !ok {
			return nil, agent.ErrClaimLost
		}
		out = append(out, "hold_s", h.last.Seconds())
		if !c.has("progress") && !c.has("status") {
			return out, nil
		}
	}
	res, err := c.do("task_set_progress", api.Request{ID: id}, body)
	if err != nil {
		return nil, err
	}
	c.signed(agent.TaskProgressKey(id))
	return append(out, "progress", body["progress"], "status", body["status"], "version", res.Version.String()), nil
}

// signed notes who wrote a key by an operation. That it cannot is no failure of that.
func (c *call) signed(key string) {
	b := c.s.cfg.Agent.Batch()
	c.sign(b, key, 0)
	_ = b.Commit(c.ctx)
}

func lockAcquire(c *call) (fields, error) {
	name := c.required("name")
	wait, last := c.seconds("wait_s", 0, maxWait), c.seconds("hold_s", 2*time.Minute, maxHold)
	shared := c.flag("shared", false)
	if c.fault != nil {
		return nil, c.fault
	}
	if lease := c.text("lease"); lease != "" {
		return c.renewLock(name, lease)
	}
	res, err := c.do("lock_acquire", api.Request{Key: name}, map[string]any{"wait": wait.String(), "shared": shared})
	if err != nil {
		return nil, err
	}
	l := res.Body.(api.Lease)
	ttl := time.Duration(l.Remaining)
	request, body := api.Request{Key: name}, map[string]any{"lease": l.Lease}
	release := c.later("lock_release", request, body)
	if err := c.s.hold(c.from, l.Lease, &hold{id: name, last: last}, ttl, c.later("lock_renew", request, body), release); err != nil {
		return nil, errors.Join(err, release(c.ctx))
	}
	return fields{"name", name, "acquired", true, "lease", l.Lease, "token", l.Token, "shared", l.Shared, "hold_s", last.Seconds(), "guarantee", l.Guarantee}, nil
}

func (c *call) renewLock(name, lease string) (fields, error) {
	if err := c.grant.Check(api.Right{Verb: api.Lock, Key: name}); err != nil {
		return nil, err
	}
	h, ok := c.s.holds.find(lease, c.from)
	if !ok || h.queue != "" || h.id != name {
		return nil, &failure{Code: "not-holder", Text: "no such lease is held on this lock", Hint: "it has ended: stop what it protected, and call lock_acquire without lease"}
	}
	return fields{"name", name, "acquired", true, "lease", lease, "hold_s", h.last.Seconds()}, nil
}

func lockRelease(c *call) (fields, error) {
	name, lease := c.required("name"), c.required("lease")
	if c.fault != nil {
		return nil, c.fault
	}
	_, err := c.do("lock_release", api.Request{Key: name}, map[string]any{"lease": lease})
	if err != nil {
		return nil, err
	}
	if h, ok := c.s.holds.find(lease, c.from); ok {
		c.s.holds.drop(lease, h)
	}
	return fields{"name", name, "released", true}, nil
}

func workerList(c *call) (fields, error) {
	q := url.Values{}
	for _, name := range []string{"state", "free", "label"} {
		if s := c.text(name); s != "" {
			q.Set(name, s)
		}
	}
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("worker_list", api.Request{Query: q}, nil)
	if err != nil {
		return nil, err
	}
	list := res.Body.(api.List[api.Worker])
	fit := fitting(list.Items)
	out := fields{"workers", list.Items[:fit], "count", list.Count}
	if fit < list.Count {
		out = append(out, "truncated", true, "hint", "narrow it down by state, free or label")
	}
	return out, nil
}

// fitting returns how many of list an answer holds.
func fitting[T any](list []T) int {
	room := budget
	for i, x := range list {
		if room -= printed(x, 2) + 6; room < 0 {
			return i
		}
	}
	return len(list)
}

func agentCoordinate(c *call) (fields, error) {
	task := c.required("task")
	name := cmp.Or(c.text("agent"), c.writer.Client)
	if c.fault != nil {
		return nil, c.fault
	}
	out := fields{"task", task, "agent", name}
	if c.has("data") {
		raw := c.given["data"]
		if text := plain(raw); json.Valid([]byte(text)) { // an object as text
			raw = json.RawMessage(text)
		}
		if _, err := c.do("agent_coordinate", api.Request{ID: task, Agent: name}, raw); err != nil {
			return nil, err
		}
		c.signed(agent.AgentKey(task, name))
	}
	all, err := c.do("task_get", api.Request{ID: task}, nil)
	var t api.Task
	switch {
	case err == nil:
		t = all.Body.(api.Task)
	case errors.Is(err, agent.ErrNotFound):
	case c.has("data"): // one may tell and not see
		return append(out, "stored", true), nil
	default:
		return nil, err
	}
	agents := fields{}
	room := budget
	for _, name := range slices.Sorted(maps.Keys(t.Agents)) {
		value, _ := glimpse(t.Agents[name])
		if room -= printed(value, 2) + len(name); room < 0 {
			out = append(out, "truncated", true)
			break
		}
		agents = append(agents, name, value)
	}
	out = append(out, "agents", agents, "count", len(t.Agents))
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

func (c *call) status() fields {
	a := c.s.cfg.Agent
	var peers []seen
	for _, m := range a.Members() {
		peers = append(peers, seen{m.Name, m.State, m.Self, m.Lag, m.Problems})
	}
	hash, keys := a.Digest()
	v := api.Judge(c.ctx, a)
	namespaces := c.namespaces()
	out := fields{"summary", v.Summary, "level", v.Level, "findings", v.Findings[:fitting(v.Findings)], "peer", a.Name(), "ready", a.Ready(),
		"peers", peers[:fitting(peers)], "keys", keys, "digest", hash, "namespaces", namespaces[:min(len(namespaces), 100)]}
	if queues, err := c.do("work_queues", api.Request{}, nil); err == nil {
		out = append(out, "queues", queues.Body.(api.List[api.WorkQueue]).Items)
	}
	return out
}

// count is a namespace with how many keys it has.
type count struct {
	Namespace string `json:"namespace"`
	Keys      int    `json:"keys"`
}

// namespaces returns those that the caller may read, the largest first.
func (c *call) namespaces() []count {
	keys, err := c.s.cfg.Agent.Keys(under(""))
	if err != nil {
		return nil
	}
	by := map[string]int{}
	for _, key := range keys {
		if c.grant.MayRead(key) {
			n, _ := nameOf(key)
			by[n]++
		}
	}
	list := []count{}
	for n, keys := range by {
		list = append(list, count{n, keys})
	}
	slices.SortFunc(list, func(x, y count) int {
		return cmp.Or(cmp.Compare(y.Keys, x.Keys), cmp.Compare(x.Namespace, y.Namespace))
	})
	return list
}
