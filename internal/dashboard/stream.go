package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	renewEvery  = time.Second
	renderShare = 20               // a rendering is followed by a pause of so many times its duration
	keepAlive   = 15 * time.Second // a silent stream sends a comment this often
	eventWrite  = 10 * time.Second // a browser that takes longer for one event is cut off
)

// No library for server-sent events is used, as in internal/httpapi: there is one kind of event,
// without an id.

// renewal is one event: the HTML of those parts of a page that have changed, by the id of the
// element.
type renewal map[string]string

// stream renews a page as long as the browser listens: at most once a second, and more
// rarely if it takes long to render.
func (d *Dashboard) stream(w http.ResponseWriter, r *http.Request) {
	p, query, err := d.streamed(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, fmt.Sprintf("%d pages are kept up to date, which is the most", maxStreams), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	send := func(text string) error {
		if err := out.SetWriteDeadline(time.Now().Add(eventWrite)); err != nil {
			return err
		}
		if _, err := fmt.Fprint(w, text); err != nil {
			return err
		}
		return out.Flush()
	}
	if send("retry: 1000\n\n") != nil { // ms until a browser connects again
		return
	}
	shown := make(renewal)
	spoke := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-d.done:
			return
		case <-timer.C:
		}
		begin := time.Now()
		v := d.view(r, p)
		v.query = query
		text := shown.event(v.parts())
		if text == "" && begin.Sub(spoke) >= keepAlive {
			text = ": hb\n\n"
		}
		took := time.Since(begin)
		if text != "" {
			if send(text) != nil {
				return
			}
			spoke = begin
		}
		timer.Reset(max(renewEvery, renderShare*took))
	}
}

// streamed returns which page a stream renews, with which parameters.
func (d *Dashboard) streamed(r *http.Request) (*page, url.Values, error) {
	q := r.URL.Query()
	path := "/ui/" + q.Get("page")
	if path == "/ui/overview" {
		path = "/"
	}
	p := find(path)
	if p == nil {
		return nil, nil, fmt.Errorf("page %q: there is no page of that name", q.Get("page"))
	}
	query, err := url.ParseQuery(q.Get("query"))
	return p, query, err
}

// parts renders the parts that are renewed, by the id of their element.
func (v *view) parts() renewal {
	_, live := v.live()
	s := api.Judge(v.ctx, v.agent, v.cfg.Reloads)
	return renewal{"live": string(live), "verdict": string(render("verdict", s)), "detail": string(render("detail", s))}
}

// event returns the event of the parts that differ from what was shown, "" if none does.
func (shown renewal) event(parts renewal) string {
	changed := make(renewal)
	for id, html := range parts {
		if shown[id] != html {
			shown[id], changed[id] = html, html
		}
	}
	if len(changed) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("event: renew\ndata: ")
	_ = json.NewEncoder(&b).Encode(changed) // strings always encode; Encode ends the line
	b.WriteString("\n")
	return b.String()
}
