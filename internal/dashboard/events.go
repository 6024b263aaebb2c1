package dashboard

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// events records what happens at this peer while a page is open, and for a minute after. It records
// a bounded number per second, and counts the rest.
type events struct {
	mu      sync.Mutex // guards the fields below
	list    []happening
	began   time.Time // when the recording began; zero while no page is open
	until   time.Time
	seen    uint64
	dropped uint64
}

// happening is one event as a row shows it. It does not keep the event's value in memory.
type happening struct {
	At     time.Time
	Type   string
	Name   string
	Href   string
	Value  string
	Writer string
	right  api.Right // the right that is needed to see it
}

const (
	keptEvents = 1000
	burst      = 200 // events recorded in a window; later ones fill the agent's buffer, and are dropped
	window     = 100 * time.Millisecond
	linger     = time.Minute
)

// silent are the types that report internals, or a write a second time.
var silent = map[agent.EventType]bool{
	agent.BatchFlushed: true, agent.Subscribed: true, agent.Unsubscribed: true, agent.CacheCleared: true, agent.ForcedSync: true,
	agent.TaskStateSynced: true, agent.WorkerStatusSynced: true, agent.AgentCoordinated: true, agent.QueueSynced: true,
}

// follow starts the recording, or extends it if it runs.
func (d *Dashboard) follow(now time.Time) {
	e := &d.events
	e.mu.Lock()
	defer e.mu.Unlock()
	e.until = now.Add(linger)
	if !e.began.IsZero() {
		return
	}
	e.began, e.list, e.seen, e.dropped = now, nil, 0, 0
	ctx, cancel := context.WithCancel(context.Background())
	s := d.agent.Events(ctx)
	go func() {
		defer cancel()
		d.record(s)
	}()
}

// record collects events until no page was open for a minute, or the agent or the dashboard ends.
func (d *Dashboard) record(s *agent.EventStream) {
	tick := time.NewTicker(window)
	defer tick.Stop()
	taken := 0
	for {
		in := s.C
		if taken >= burst {
			in = nil
		}
		select {
		case e, ok := <-in:
			if !ok {
				d.events.end()
				return
			}
			if !silent[e.Type] {
				taken++
				d.events.add(d.happened(e))
			}
		case now := <-tick.C:
			taken = 0
			if d.events.over(now, s.Dropped()) {
				return
			}
		case <-d.done:
			d.events.end()
			return
		}
	}
}

// happened returns the row of an event.
func (d *Dashboard) happened(e agent.LifecycleEvent) happening {
	h := happening{At: time.Now(), Type: string(e.Type), Name: e.Name, right: api.Right{Verb: api.Read, Key: e.Name}}
	if c := e.Change; c != nil {
		h.Href, h.Value, h.Writer = address("/ui/key", "key", e.Name), strings.Clone(previewOf(c)), c.Writer
		return h
	}
	switch e.Type {
	case agent.PeerJoined, agent.PeerLeft, agent.Shutdown:
		h.right = api.Right{} // every caller may see it
	case agent.Lagged: // the event's name is the pattern of a watch
		h.right.Key = api.Everything
	case agent.LockLost, agent.LockLapsed:
		h.right.Verb = api.Lock
	default:
		h.right.Key = keyspace.Queues + e.Name
	}
	return h
}

// previewOf returns the text that a row shows of a changed value.
func previewOf(e *agent.Event) string {
	switch {
	case !e.Partial || e.Cause == agent.CauseDelete:
		return preview(e.New)
	case len(e.Parts) == 0:
		return "large"
	}
	p := e.Parts[0]
	text := strings.TrimSpace(p.Verb.String() + " " + strings.Join(p.Path, "/"))
	if !p.Value.IsZero() {
		text += " " + preview(p.Value)
	}
	if n := len(e.Parts) - 1; n > 0 {
		text += " and " + plural(n, "more part")
	}
	return cut(text, glance)
}

func (e *events) add(h happening) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen++
	if len(e.list) >= 2*keptEvents {
		e.list = append(e.list[:0], e.list[keptEvents:]...)
	}
	e.list = append(e.list, h)
}

// over counts the events that were not recorded, and ends the recording if no page is open.
func (e *events) over(now time.Time, dropped uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = dropped
	if now.Before(e.until) {
		return false
	}
	e.began, e.list = time.Time{}, nil
	return true
}

func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.began, e.list = time.Time{}, nil
}

// recent loads the page of recent events, the newest first.
func recent(v *view) (any, error) {
	type data struct {
		Rows          []happening
		Since         time.Time
		Seen, Dropped uint64
		Filter        string
		Most          int
	}
	text := v.query.Get("q")
	if len(text) > maxQuery {
		return nil, &badQuery{"the text to filter by is over 1,024 bytes long"}
	}
	v.follow(v.now)
	e := &v.events
	e.mu.Lock()
	defer e.mu.Unlock()
	d := data{Since: e.began, Seen: e.seen + e.dropped, Dropped: e.dropped, Filter: text, Most: maxRows}
	for i := len(e.list) - 1; i >= max(len(e.list)-keptEvents, 0) && len(d.Rows) < maxRows; i-- {
		h := e.list[i]
		hit := text == "" || strings.Contains(strings.ToLower(h.Name+" "+h.Type+" "+h.Writer), strings.ToLower(text))
		if hit && (h.right == api.Right{} || v.grant.Allows(h.right)) {
			d.Rows = append(d.Rows, h)
		}
	}
	return d, nil
}
