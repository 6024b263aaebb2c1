package aside

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// maxLines bounds the records that wait for a handler. Records below a warning are dropped from
// maxChatter on, so that there is room for warnings however many other records there are.
const (
	maxLines   = 1024
	maxChatter = maxLines / 2
)

// Logger returns a logger whose handler runs aside. If the handler is too slow, the records that
// wait are bounded: further ones are dropped, those below a warning first, and the next record is
// preceded by their number. The caller must close the queue. A logger that discards its records, or
// that already runs aside, is returned unchanged with a nil queue.
func Logger(l *slog.Logger) (*slog.Logger, *Queue) {
	switch to := l.Handler().(type) {
	case handler:
		return l, nil
	default:
		if to == slog.DiscardHandler {
			return l, nil
		}
		q := New(maxLines)
		return slog.New(handler{q, to, new(atomic.Uint64)}), q
	}
}

// handler passes records on. It calls the handler behind it only from the queue, since that is code
// of the embedding program too.
type handler struct {
	q    *Queue
	to   slog.Handler
	told *atomic.Uint64 // how many dropped records were reported
}

func (h handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	limit := maxLines
	if r.Level < slog.LevelWarn {
		limit = maxChatter
	}
	h.q.within(limit, func() {
		if dropped := h.q.Dropped(); dropped != h.told.Load() {
			lost := slog.NewRecord(r.Time, slog.LevelWarn, "log lines are lost: they came faster than they could be written", 0)
			lost.AddAttrs(slog.Uint64("lines", dropped-h.told.Swap(dropped)))
			h.pass(ctx, lost)
		}
		h.pass(ctx, r)
	})
	return nil
}

func (h handler) pass(ctx context.Context, r slog.Record) {
	if h.to.Enabled(ctx, r.Level) {
		_ = h.to.Handle(ctx, r) // slog ignores the error too
	}
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.q, h.to.WithAttrs(attrs), h.told}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.q, h.to.WithGroup(name), h.told}
}
