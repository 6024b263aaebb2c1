package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Event is one event of a watch as JSON.
type Event struct {
	Key    string      `json:"key,omitempty"`
	Type   string      `json:"type,omitempty"`
	Cause  agent.Cause `json:"cause"`
	Value  crdt.Value  `json:"value"`
	Old    crdt.Value  `json:"old"`
	Writer string      `json:"writer,omitempty"`
	Order  string      `json:"order,omitempty"`
	At     time.Time   `json:"at,omitzero"`
}

const (
	keepAlive  = 15 * time.Second
	eventWrite = 10 * time.Second // a client that takes an event no faster is cut off
)

// watch streams events until the client or the server goes.
func (h handler) watch(w http.ResponseWriter, r *http.Request) {
	var opts []agent.WatchOption
	if r.URL.Query().Get("snapshot") == "true" {
		opts = append(opts, agent.WithSnapshot())
	}
	if id := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("last_event_id")); id != "" {
		c, err := agent.ParseCursor(id)
		if err != nil {
			fail(w, &api.BadRequest{Reason: "Last-Event-ID: " + err.Error()})
			return
		}
		opts = append(opts, agent.FromCursor(c))
	}
	sub, err := h.cfg.Agent.Watch(r.Context(), cmp.Or(r.URL.Query().Get("match"), "**"), opts...)
	if err != nil {
		fail(w, &api.BadRequest{Reason: err.Error()})
		return
	}
	defer sub.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		if err := out.SetWriteDeadline(time.Now().Add(eventWrite)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return out.Flush()
	}
	if send(": watching\n\n") != nil {
		return
	}
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, ok := <-sub.C():
			if !ok {
				return
			}
			err = send("%s", encode(e))
		case <-beat.C:
			err = send(": hb\n\n")
		case <-r.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func encode(e agent.Event) []byte {
	out := Event{Key: e.Key, Cause: e.Cause, Value: e.New, Old: e.Old, Writer: e.Writer}
	if e.Key != "" {
		out.Type, out.Order, out.At = e.Kind.String(), e.Order.String(), e.Stamp.Time().UTC()
	}
	data, _ := json.Marshal(out) // values always encode
	var b []byte
	if !e.Cursor.IsZero() {
		b = fmt.Appendf(b, "id: %s\n", e.Cursor)
	}
	return fmt.Appendf(b, "event: %s\ndata: %s\n\n", e.Cause, data)
}
