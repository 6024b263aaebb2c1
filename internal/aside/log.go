package aside

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// maxLines bounds the records that wait for a handler, and maxChatter those when another
// below a warning comes: however many of these there are, warnings find room.
const (
	maxLines   = 1024
	maxChatter = maxLines / 2
)

// Logger returns a logger whose records are handled aside, with those that wait when the
// handler is too slow bounded: beyond, records are dropped, those below a warning first,
// and the next one is preceded by their number. The caller closes the queue. A logger that discards, or that is
// handled aside already, comes back as it is, with a nil queue.
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

// handler hands records over. It asks the handler behind it nothing before: that, too,
// is code of others.
type handler struct {
	q    *Queue
	to   slog.Handler
	told *atomic.Uint64 // of the dropped
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
		_ = h.to.Handle(ctx, r) // slog ignores it, too
	}
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.q, h.to.WithAttrs(attrs), h.told}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.q, h.to.WithGroup(name), h.told}
}
