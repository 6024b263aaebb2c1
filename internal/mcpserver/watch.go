package mcpserver

import (
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// company is how long a watch that has an event waits for more of them.
const company = 20 * time.Millisecond

// memoryWatch waits for events (long polling).
func memoryWatch(c *call) (fields, error) {
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	a := c.s.cfg.Agent
	prefix, patience := c.text("prefix"), c.seconds("timeout_s", 20*time.Second, maxWait)
	from := a.Cursor()
	if since := c.text("since"); since != "" {
		if from, err = agent.ParseCursor(since); err != nil || from.IsZero() {
			return nil, &failure{Code: "bad-request", Text: "since: this is not one that a watch returned", Hint: "pass next of the previous answer, or no since to start now"}
		}
	}
	if c.fault != nil {
		return nil, c.fault
	}
	pattern := under(n)
	if err := c.grant.CheckMatch(pattern); err != nil {
		return nil, err
	}
	sub, err := a.Watch(c.ctx, pattern, agent.FromCursor(from))
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	wanted := func(e agent.Event) bool {
		_, k := nameOf(e.Key)
		return strings.HasPrefix(k, prefix) && c.grant.MayRead(e.Key)
	}
	out, next, lagged := c.gather(sub, wanted, from, max(patience, company)) // missed events come at once
	switch {
	case lagged:
		return fields{"events", out, "count", 0, "next", a.Cursor().String(), "lagged", true,
			"hint", "some changes were missed: list or search what you need, and go on watching from next"}, nil
	case c.ctx.Err() != nil:
		return nil, c.ctx.Err()
	}
	return fields{"events", out, "count", len(out), "next", next.String()}, nil
}

// gather takes wanted events: it waits for the first, then a moment for more, up to the budget.
// next is the cursor after the last event. It moves even if no event was wanted, since the history
// might not reach back to the old cursor once one is.
func (c *call) gather(sub *agent.Subscription, wanted func(agent.Event) bool, from agent.Cursor, patience time.Duration) (out []fields, next agent.Cursor, lagged bool) {
	out, next = []fields{}, from
	room := budget
	enough := time.NewTimer(patience)
	defer enough.Stop()
	for {
		select {
		case e, ok := <-sub.C():
			switch {
			case !ok:
				return out, next, false
			case e.Cause == agent.CauseLagged:
				return []fields{}, next, true
			case !wanted(e):
				next = e.Cursor
				continue
			}
			shown := c.s.event(e)
			if room -= printed(shown); room < 0 && len(out) > 0 {
				return out, next, false
			}
			if len(out) == 0 {
				enough.Reset(company)
			}
			out, next = append(out, shown), e.Cursor
		case <-enough.C:
			if now, ok := sub.Cursor(); ok {
				next = now
			}
			return out, next, false
		}
	}
}

// glimpses returns parts with their values cut.
func glimpses(parts []api.Part) []fields {
	list := make([]fields, len(parts))
	for i, p := range parts {
		list[i] = fields{"op", p.Op}
		if len(p.Path) > 0 {
			list[i] = append(list[i], "path", p.Path)
		}
		if p.Value.IsZero() {
			continue
		}
		value, cut := glimpse(p.Value)
		if list[i] = append(list[i], "value", value); cut {
			list[i] = append(list[i], "truncated", true)
		}
	}
	return list
}

func (s *Server) event(e agent.Event) fields {
	n, k := nameOf(e.Key)
	out := fields{"key", k, "namespace", n, "cause", string(e.Cause)}
	if !e.New.IsZero() {
		value, cut := glimpse(e.New)
		out = append(out, "value", value)
		if cut {
			out = append(out, "truncated", true)
		}
	}
	by := author{peer: e.Writer}
	if e.Partial { // the version and the client of a large value are not worth a look at all of it
		out = append(out, "partial", true)
		if parts := api.PartsOf(e); len(parts) > 0 {
			out = append(out, "parts", glimpses(parts))
		} else {
			out = append(out, "hint", "read the key: the event does not say what changed")
		}
	} else if entry, ok := s.cfg.Agent.Entry(e.Key); ok && entry.Dot() == e.Dot {
		by, _ = s.authorOf(e.Key, entry)
		out = append(out, "version", entry.Version().String())
	}
	out = append(out, "writer", by.writer())
	if by.Client != "" {
		out = append(out, "claimed_client", by.Client)
	}
	return append(out, "at", timestamp(e.Stamp.Time()))
}
