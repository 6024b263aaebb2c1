package transport

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines collects records as "LEVEL message".
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "suppressed" {
			text += " +" + a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, text)
	return nil
}

// take returns what was collected since it was last called.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

func TestMemberlistsLinesKeepTheirLevelAndAreCounted(t *testing.T) {
	var got lines
	b := &bridge{log: slog.New(&got), warn: newWarnings(&got), stats: &counters{}}
	l := b.logger()
	f := func(line, want string, why cause) {
		t.Helper()
		var before [causes]uint64
		for i := range causes {
			before[i] = b.stats.causes[i].Load()
		}
		l.Print(line)
		if all := got.take(); len(all) != 1 || all[0] != want {
			t.Errorf("%q became %q, want %q", line, all, want)
		}
		for i := range causes {
			grew := b.stats.causes[i].Load() - before[i]
			if (grew == 1) != (i == why) || grew > 1 {
				t.Errorf("%q counted %d as %v", line, grew, i)
			}
		}
	}
	f("[DEBUG] memberlist: Stream connection from=1.2.3.4:5", "DEBUG Stream connection from=1.2.3.4:5", causes)
	f("[INFO] memberlist: Suspect x has failed", "INFO Suspect x has failed", causes)
	f("[ERR] memberlist: Failed to send UDP ping", "WARN Failed to send UDP ping", causes)
	f("[WARN] memberlist: handler queue full, dropping message (8) from=1.2.3.4:5", "WARN handler queue full, dropping message (8) from=1.2.3.4:5", dropHandler)
	f("no level at all", "INFO no level at all", causes)
}

func TestWarningsStrangersCauseAreLimitedAndTheRestCounted(t *testing.T) {
	var got lines
	w := newWarnings(&got)
	at := time.Now()
	record := func(subject string) {
		if err := w.on(subject).Handler().WithGroup("g").Handle(t.Context(), slog.NewRecord(at, slog.LevelWarn, "boo", 0)); err != nil {
			t.Fatal(err)
		}
	}
	for range limitBurst + 90 {
		record("garbage")
	}
	if n := len(got.take()); n != limitBurst {
		t.Errorf("%d lines in one period, want %d", n, limitBurst)
	}
	record("cluster")
	if len(got.take()) != 1 {
		t.Error("a flood of one subject silences another")
	}
	at = at.Add(limitPeriod + time.Second)
	record("garbage")
	if all := got.take(); len(all) != 1 || !strings.HasSuffix(all[0], "+90") {
		t.Errorf("the next period begins with %q", all)
	}
}
