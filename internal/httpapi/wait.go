package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// longer returns a context for a request that waits for the given time, if the limits have room for
// one more such request. The context ends when the client goes, when its token is withdrawn,
// and when the server drains. The write deadline of the connection is moved to the end of the
// wait.
func (h *handler) longer(w http.ResponseWriter, r *http.Request, wait time.Duration) (context.Context, error) {
	out := w.(*tracked)
	if wait > 0 {
		if refused := out.place.linger(); refused != nil {
			return nil, refused
		}
	}
	end := time.Now().Add(wait + callTimeout)
	_ = http.NewResponseController(w).SetWriteDeadline(end.Add(5 * time.Second))
	ctx, cancel := h.whileGood(r.Context(), out) // ends with the request
	stop := context.AfterFunc(h.draining, func() { cancel(agent.ErrClosed) })
	context.AfterFunc(r.Context(), func() { stop() })
	return ctx, nil
}
