package transport

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// lines collects records as "LEVEL message".
type lines struct{ all *[]string }

func (l lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l lines) WithGroup(string) slog.Handler            { return l }
func (l lines) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "suppressed" {
			text += " +" + a.Value.String()
		}
		return true
	})
	*l.all = append(*l.all, text)
	return nil
}

func TestMemberlistsLinesKeepTheirLevelAndAreCounted(t *testing.T) {
	var all []string
	log := slog.New(lines{&all})
	b := &bridge{log: log, warn: log, stats: &counters{}}
	l := b.logger()
	f := func(line, want string, why cause) {
		t.Helper()
		all = nil
		var before [causes]uint64
		for i := range causes {
			before[i] = b.stats.causes[i].Load()
		}
		l.Print(line)
		if len(all) != 1 || all[0] != want {
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
	f("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=x", "WARN Decrypt packet failed: no installed keys could decrypt the message from=x", refuseKey)
	f(`[ERR] memberlist: discarding packet with unacceptable label "b": from=x`, `WARN discarding packet with unacceptable label "b": from=x`, refuseCluster)
	f("no level at all", "INFO no level at all", causes)
}

func TestWarningsStrangersCauseAreLimitedAndTheRestCounted(t *testing.T) {
	var all []string
	h := newLimited(lines{&all}).Handler()
	at := time.Now()
	record := func() {
		if err := h.WithGroup("g").Handle(t.Context(), slog.NewRecord(at, slog.LevelWarn, "boo", 0)); err != nil {
			t.Fatal(err)
		}
	}
	for range limitBurst + 90 {
		record()
	}
	if len(all) != limitBurst {
		t.Errorf("%d lines in one period, want %d", len(all), limitBurst)
	}
	at = at.Add(limitPeriod + time.Second)
	record()
	if last := all[len(all)-1]; len(all) != limitBurst+1 || !strings.HasSuffix(last, "+90") {
		t.Errorf("the next period begins with %q", last)
	}
}
