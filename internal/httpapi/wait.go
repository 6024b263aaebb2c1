package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// longer returns the context of a request that may wait for so long. It ends when
// the client goes, and when the server drains; the connection's deadline is moved
// along.
func (h handler) longer(w http.ResponseWriter, r *http.Request, wait time.Duration) context.Context {
	end := time.Now().Add(wait + callTimeout)
	_ = http.NewResponseController(w).SetWriteDeadline(end.Add(5 * time.Second))
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(h.draining, func() { cancel(agent.ErrClosed) })
	context.AfterFunc(r.Context(), func() { stop() })
	return ctx
}
