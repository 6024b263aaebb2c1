package transport

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// warnings logs what strangers can cause. Each subject has a bounded rate of its own, so that
// one of them cannot suppress another.
type warnings struct {
	to slog.Handler

	mu    sync.Mutex // guards what follows
	about map[string]*slog.Logger
}

func newWarnings(to slog.Handler) *warnings {
	return &warnings{to: to, about: make(map[string]*slog.Logger)}
}

// on returns the logger of a subject. Loggers are kept for ever, so subjects must be few.
func (w *warnings) on(subject string) *slog.Logger {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.about[subject]
	if l == nil {
		l = slog.New(limited{w.to, &gate{}})
		w.about[subject] = l
	}
	return l
}

// limited passes on limitBurst records each limitPeriod. It counts the others, and adds that number
// to the next record that it passes on.
type limited struct {
	slog.Handler
	gate *gate
}

// gate is shared by the handlers derived from one.
type gate struct {
	mu         sync.Mutex // guards what follows
	until      time.Time
	left       int
	suppressed int
}

const (
	limitPeriod = 10 * time.Second
	limitBurst  = 10
)

func (l limited) Handle(ctx context.Context, r slog.Record) error {
	l.gate.mu.Lock()
	if r.Time.After(l.gate.until) {
		l.gate.until, l.gate.left = r.Time.Add(limitPeriod), limitBurst
	}
	if l.gate.left == 0 {
		l.gate.suppressed++
		l.gate.mu.Unlock()
		return nil
	}
	l.gate.left--
	n := l.gate.suppressed
	l.gate.suppressed = 0
	l.gate.mu.Unlock()
	if n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", n))
	}
	return l.Handler.Handle(ctx, r)
}

func (l limited) WithAttrs(a []slog.Attr) slog.Handler {
	return limited{l.Handler.WithAttrs(a), l.gate}
}

func (l limited) WithGroup(name string) slog.Handler {
	return limited{l.Handler.WithGroup(name), l.gate}
}

// bridge turns memberlist's log lines into records. It counts a loss of which a line is the only
// sign.
type bridge struct {
	log   *slog.Logger
	warn  *warnings
	stats *counters
}

func (b *bridge) logger() *log.Logger { return log.New(b, "", 0) }

func (b *bridge) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	level := slog.LevelInfo
	if tag, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(tag, "[") {
		text = rest
		switch tag[1:] {
		case "DEBUG":
			level = slog.LevelDebug
		case "WARN":
			level = slog.LevelWarn
		case "ERR", "ERROR":
			// memberlist logs lost packets and refused strangers as errors. Its protocol
			// goes on, so they are warnings for an operator.
			level = slog.LevelWarn
		}
	}
	subject := "memberlist"
	if strings.Contains(text, "handler queue full") { // memberlist v0.7.0
		b.stats.count(dropHandler, 1)
		subject = dropHandler.String()
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	to := b.log
	if level >= slog.LevelWarn {
		to = b.warn.on(subject)
	}
	to.Log(context.Background(), level, text, "from", "memberlist")
	return len(line), nil
}
