package mcpserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

func taskAdd(c *call) (fields, error) {
	if !c.has("value") {
		c.fail("value is missing")
	}
	name := cmp.Or(c.text("queue"), defaultQueue)
	body := map[string]any{"value": c.given["value"], "id": c.text("id"), "priority": c.whole("priority", 0, -maxSafe, maxSafe),
		"delay": c.seconds("delay_s", 0, workqueue.MaxDelay).String(), "max_attempts": c.whole("max_attempts", 0, 0, 1<<31-1)}
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("work_enqueue", api.Request{Queue: name}, body)
	if err != nil {
		return nil, err
	}
	made := res.Body.(api.Enqueued)
	return fields{"queue", name, "task", made.ID, "added", !made.Duplicate, "duplicate", made.Duplicate}, nil
}

func taskClaim(c *call) (fields, error) {
	name := cmp.Or(c.text("queue"), defaultQueue)
	wait, last := c.seconds("wait_s", 0, maxWait), c.seconds("hold_s", defaultHold, maxHold)
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("work_claim", api.Request{Queue: name}, map[string]any{"wait": wait.String(), "max": 1})
	if err != nil {
		return nil, err
	}
	items := res.Body.(api.List[api.Claimed]).Items
	if len(items) == 0 {
		return fields{"queue", name, "claimed", false, "hint", "there is nothing to do now; call again with wait_s"}, nil
	}
	x := items[0]
	h := &hold{queue: name, id: x.ID, lease: x.Lease, token: x.Token, last: last}
	if err := c.holdClaim(h, time.Duration(x.Remaining)); err != nil {
		return nil, err
	}
	out := fields{"queue", name, "claimed", true, "task", x.ID}
	if value := shown(x.Value); printed(value) <= budget {
		out = append(out, "value", value)
	} else {
		out = append(out, "value", fits(plain(value), budget/2)+"…", "truncated", true,
			"hint", "task_list with queue and task returns the whole value, in parts")
	}
	return append(out, "claim", h.claim(), "attempt", x.Attempt, "token", x.Token, "hold_s", last.Seconds()), nil
}

// claim returns the claim that the agent is given: all that another daemon needs to go on with it.
func (h *hold) claim() string {
	return h.queue + "/" + h.id + "/" + strconv.FormatUint(h.token, 10) + "/" + h.lease
}

// claimed returns the hold for a claim, at a daemon that does not have the hold.
func claimed(claim string) (*hold, bool) {
	part := strings.Split(claim, "/")
	if len(part) != 4 {
		return nil, false
	}
	token, err := strconv.ParseUint(part[2], 10, 64)
	return &hold{queue: part[0], id: part[1], token: token, lease: part[3], last: defaultHold}, err == nil
}

func (h *hold) body() map[string]any { return map[string]any{"lease": h.lease, "token": h.token} }

// holdClaim holds a claim for the caller.
func (c *call) holdClaim(h *hold, ttl time.Duration) error {
	request, lost := api.Request{Queue: h.queue, ID: h.id}, h.body()
	lost["error"], lost["retry"] = "its agent is gone, or was silent for too long", "0s"
	giveUp := c.later("work_fail", request, lost)
	err := c.hold(h.claim(), h, ttl, c.later("work_extend", request, h.body()), c.unlessMoved(queue.Lock(h.queue, h.id), h.token, giveUp))
	if err != nil {
		return errors.Join(err, giveUp(c.ctx))
	}
	return nil
}

// resume holds a claim that began before a restart or at another daemon, and tells that daemon.
func (c *call) resume(claim string, last time.Duration) (time.Duration, error) {
	h, ok := claimed(claim)
	if !ok {
		return 0, workqueue.ErrClaimLost
	}
	last = cmp.Or(last, h.last)
	h.last = last
	res, err := c.do("work_extend", api.Request{Queue: h.queue, ID: h.id}, h.body())
	if err != nil {
		return 0, err
	}
	c.tell(queue.Lock(h.queue, h.id), h.token, last)
	return last, c.holdClaim(h, time.Duration(res.Body.(api.Extended).Remaining))
}

// later returns a function that runs an operation after the call that was allowed it.
func (c *call) later(name string, r api.Request, body any) func(context.Context) error {
	s := c.s
	return func(ctx context.Context) (err error) {
		defer s.recovered(name, &err)
		_, err = (&call{s: s, ctx: ctx}).do(name, r, body)
		return err
	}
}

func taskComplete(c *call) (fields, error) {
	claim, task := c.text("claim"), c.either("task", "taskId")
	if claim == "" && task != "" {
		if claim = c.claimOf(task); claim == "" {
			return nil, &failure{Code: "claim-lost", Text: fmt.Sprintf("you have no claim of task %q", shorten(task, 200)),
				Hint: "pass the claim that task_claim returned; if it has ended, stop the work and call task_claim for another"}
		}
	}
	if claim == "" {
		c.fail("claim is missing: pass it, or the id of a task that you claimed")
	}
	if c.fault != nil {
		return nil, c.fault
	}
	h, _, ok := c.touch(claim, 0)
	if !ok {
		h, ok = claimed(claim)
	}
	if !ok || h.queue == "" {
		return nil, workqueue.ErrClaimLost
	}
	name, body, status := "work_complete", h.body(), "completed"
	if c.has("error") {
		name, status = "work_fail", "failed"
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
	if err == nil || errors.Is(err, workqueue.ErrClaimLost) {
		c.s.holds.drop(claim, h)
	}
	if err != nil {
		return nil, err
	}
	c.conclude(h.id, status)
	return fields{"queue", h.queue, "task", h.id, "completed", name == "work_complete"}, nil
}

// conclude sets the status of a task's progress, if the task has progress, to how the task ended.
func (c *call) conclude(id, status string) {
	request := api.Request{ID: id}
	res, err := c.do("task_progress", request, nil)
	var p fleet.TaskProgress
	if err != nil || res.Body.(crdt.Value).Decode(&p) != nil {
		return
	}
	if status == "completed" {
		p.Progress = 1
	}
	if _, err := c.do("task_set_progress", request, fields{"progress", p.Progress, "status", status}); err == nil {
		c.signed(fleet.TaskProgressKey(id))
	}
}

func taskProgress(c *call) (fields, error) {
	id := c.required("task")
	body, last := c.progress(id), c.seconds("hold_s", 0, maxHold)
	if c.fault != nil {
		return nil, c.fault
	}
	out := fields{"task", id}
	if claim := c.text("claim"); claim != "" {
		_, until, ok := c.touch(claim, last)
		if !ok {
			var err error
			if until, err = c.resume(claim, last); err != nil {
				return nil, err
			}
		}
		out = append(out, "hold_s", until.Seconds())
		if !c.has("progress") && !c.has("percent") && !c.has("status") {
			return out, nil
		}
	}
	res, err := c.do("task_set_progress", api.Request{ID: id}, body)
	if err != nil {
		return nil, err
	}
	c.signed(fleet.TaskProgressKey(id))
	var now crdt.Value
	if v := res.Body.(api.Written).Value; v != nil { // the record is there, and not large
		now = v.Field("progress")
	}
	return append(out, "progress", now, "status", body["status"], "version", res.Version.String()), nil
}

// progress returns the body for task_set_progress, which tells a fraction from a percentage. A
// status alone leaves the progress unchanged.
func (c *call) progress(id string) map[string]any {
	body := map[string]any{"status": c.text("status")}
	for _, name := range []string{"progress", "percent"} {
		if c.has(name) {
			body[name] = c.number(name, 0)
		}
	}
	if len(body) == 1 {
		var p fleet.TaskProgress // 0 if no progress was recorded
		if res, err := c.do("task_progress", api.Request{ID: id}, nil); err == nil {
			_ = res.Body.(crdt.Value).Decode(&p) // 0 on an error too
		}
		body["progress"] = p.Progress
	}
	return body
}

// signed records the author of a key. A failure of that is not a failure of the write.
func (c *call) signed(key string) {
	sign := c.sign(key, 0)
	_ = c.s.cfg.Agent.Update(c.ctx, func(tx *agent.Tx) error {
		sign(tx)
		return nil
	})
}

// taskList shows the tasks of a queue, or everything about one of them.
func taskList(c *call) (fields, error) {
	request := api.Request{Queue: cmp.Or(c.text("queue"), defaultQueue)}
	if request.ID = c.either("task", "taskId"); request.ID != "" {
		return c.task(request)
	}
	limit, values := c.count("limit", 50, maxListed), c.flag("values", true)
	request.Query = url.Values{"state": {cmp.Or(c.text("state"), "all")}, "after": {c.text("cursor")}, "limit": {strconv.Itoa(limit)}}
	if c.fault != nil {
		return nil, c.fault
	}
	res, err := c.do("work_peek", request, nil)
	if err != nil {
		return nil, err
	}
	page := res.Body.(api.List[workqueue.Item])
	list, next, room := []any{}, page.Next, budget
	for i, item := range page.Items {
		entry := any(item.ID)
		if values {
			entry = c.item(item)
		}
		if room -= printed(entry) + 1; room < 0 && i > 0 {
			next = page.Items[i-1].ID
			break
		}
		list = append(list, entry)
	}
	return cut(fields{"queue", request.Queue, "tasks", list, "count", len(list), "known", *page.Count}, next), nil
}

// item shows a task in a list.
func (c *call) item(i workqueue.Item) fields {
	out := fields{"task", i.ID, "state", i.State}
	for _, v := range []struct {
		name  string
		value crdt.Value
	}{{"value", i.Value}, {"result", i.Result}} {
		if !v.value.IsZero() {
			value, cut := glimpse(v.value)
			if out = append(out, v.name, value); cut {
				out = append(out, "truncated", true)
			}
		}
	}
	return append(out, c.history(i)...)
}

// history shows what happened to a task so far.
func (c *call) history(i workqueue.Item) (out fields) {
	if i.Attempt > 0 {
		out = append(out, "attempt", i.Attempt)
	}
	if i.Error != "" {
		out = append(out, "error", shorten(i.Error, maxShown))
	}
	if res, err := c.do("task_progress", api.Request{ID: i.ID}, nil); err == nil {
		value, _ := glimpse(res.Body.(crdt.Value))
		out = append(out, "progress", value)
	}
	return append(out, "priority", i.Priority, "enqueued", timestamp(i.Enqueued))
}

// task shows one task. Its result, or before that its value, comes in parts if it is long.
func (c *call) task(request api.Request) (fields, error) {
	res, err := c.do("work_item", request, nil)
	if err != nil {
		return nil, err
	}
	i := res.Body.(workqueue.Item)
	out := append(fields{"queue", request.Queue, "task", i.ID, "state", i.State}, c.history(i)...)
	name, v := "value", i.Value
	if !i.Result.IsZero() {
		name, v = "result", i.Result
	}
	if v.IsZero() {
		return out, nil
	}
	sum := sha256.Sum256([]byte(v.String())) // all parts must be of the same text
	part, err := c.part(name, hex.EncodeToString(sum[:4]), shown(v))
	return append(out, part...), err
}
