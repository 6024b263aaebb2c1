package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	keepAlive  = 15 * time.Second
	eventWrite = 10 * time.Second // a client that takes longer for one event is cut off
)

// No library for server-sent events is used: go-sse v0.12 would save four lines, and sets no deadline
// for a write (docs/decisions/0034). Its hub and its replay are what subscriptions and cursors are here.

// watch answers with events until the client or the server goes.
func (h *handler) watch(op api.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sub, err := h.subscribe(r, &op)
		if err != nil {
			h.fail(w, err)
			return
		}
		defer sub.Close()
		w.Header().Set("Content-Type", eventStream)
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodHead { // a stream has no end to wait for
			h.stream(w, r, sub)
		}
	}
}

func (h *handler) subscribe(r *http.Request, op *api.Operation) (*agent.Subscription, error) {
	query, err := parameters(r, op)
	if err != nil {
		return nil, err
	}
	var opts []agent.WatchOption
	snapshot, err := api.Flag(query, "snapshot")
	if err != nil {
		return nil, err
	}
	if snapshot {
		opts = append(opts, agent.WithSnapshot())
	}
	if id := cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("last_event_id")); id != "" {
		c, err := agent.ParseCursor(id)
		if err != nil {
			return nil, &api.BadRequest{Reason: "Last-Event-ID: " + err.Error()}
		}
		opts = append(opts, agent.FromCursor(c))
	}
	pattern := cmp.Or(query.Get("match"), "**")
	if err := api.GrantOf(r.Context()).CheckMatch(pattern); err != nil {
		return nil, err
	}
	sub, err := h.cfg.Agent.Watch(r.Context(), pattern, opts...)
	if err != nil && !errors.Is(err, agent.ErrClosed) {
		err = &api.BadRequest{Reason: err.Error()}
	}
	return sub, err
}

// stream sends the events of sub until the client goes or the stream must end.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, sub *agent.Subscription) {
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
	// A block with an id and without data moves the place where a client resumes, and is no event
	// to it.
	say := func(comment string) error {
		if c, ok := sub.Cursor(); ok {
			return send(": %s\nid: %s\n\n", comment, c)
		}
		return send(": %s\n\n", comment)
	}
	if say("watching") != nil {
		return
	}
	grant := api.GrantOf(r.Context())
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, ok := <-sub.C():
			if !ok {
				return
			}
			if e.Key == "" || grant.MayRead(e.Key) {
				err = send("%s", encode(e))
			}
		case <-beat.C:
			err = say("hb")
		case <-r.Context().Done():
			return
		case <-h.draining.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func encode(e agent.Event) []byte {
	data, _ := json.Marshal(api.EventOf(e)) // an event always encodes
	var b []byte
	if !e.Cursor.IsZero() {
		b = fmt.Appendf(b, "id: %s\n", e.Cursor)
	}
	return fmt.Appendf(b, "event: %s\ndata: %s\n\n", e.Cause, data)
}
