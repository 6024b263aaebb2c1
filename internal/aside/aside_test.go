package aside

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallsRunInOrderAndCloseWaitsForThem(t *testing.T) {
	q := New(0)
	var got []int
	for i := range 100 {
		if !q.Do(func() { got = append(got, i) }) {
			t.Fatal("dropped")
		}
	}
	if !q.Close(time.Minute) || len(got) != 100 || got[99] != 99 {
		t.Fatalf("%d calls: %v", len(got), got)
	}
	if q.Do(func() {}) || q.Dropped() != 1 {
		t.Error("a closed queue takes calls")
	}
}

func TestACallMayCallBack(t *testing.T) {
	q := New(0)
	done := make(chan bool)
	q.Do(func() {
		q.Do(func() { done <- q.Close(0) }) // which does not wait for itself
	})
	if <-done {
		t.Error("the queue is said to be done by one of its calls")
	}
}

func TestACallThatBlocksHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(2)
		stuck, ran := make(chan struct{}), 0
		q.Do(func() { <-stuck })
		synctest.Wait()
		for range 5 {
			q.Do(func() { ran++ })
		}
		if q.Dropped() != 3 {
			t.Errorf("%d dropped, want those beyond two", q.Dropped())
		}
		if q.Close(time.Second) {
			t.Error("a queue that is stuck says that it is done")
		}
		close(stuck)
		synctest.Wait()
		if ran != 0 {
			t.Error("what was given up at Close ran after it")
		}
	})
}

func TestLinesAreKeptInOrderAndLostOnesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		hold := make(chan struct{})
		l, q := Logger(slog.New(slow{slog.NewTextHandler(&out, nil), hold}))
		for i := range maxLines + 10 {
			l.With("with", 1).WithGroup("group").Warn(fmt.Sprint("line ", i), "attr", i)
			synctest.Wait()
		}
		l.Debug("not enabled")
		close(hold)
		synctest.Wait()
		l.Info("the last")
		if !q.Close(time.Second) {
			t.Fatal("not done")
		}
		text := out.String()
		for _, want := range []string{"msg=\"line 0\" with=1 group.attr=0\n", fmt.Sprintf("msg=\"line %d\"", maxLines), "lines=10", "msg=\"the last\""} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing", want)
			}
		}
		if strings.Contains(text, "not enabled") {
			t.Error("a level that is off is written")
		}
	})
}

// A flood of lines that matter little, or that are not even written, takes no warning's place.
func TestChatterPushesNoWarningOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		hold := make(chan struct{})
		l, q := Logger(slog.New(slow{slog.NewTextHandler(&out, nil), hold}))
		for i := range 3 * maxLines {
			if i%2 == 0 {
				l.Debug("chatter")
			} else {
				l.Info("chatter")
			}
			synctest.Wait()
		}
		l.Warn("a warning")
		l.Error("an error")
		close(hold)
		synctest.Wait()
		if !q.Close(time.Second) {
			t.Fatal("not done")
		}
		for _, want := range []string{"a warning", "an error", "log lines are lost"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing", want)
			}
		}
	})
}

func TestALoggerIsHandledAsideOnce(t *testing.T) {
	l, q := Logger(slog.New(slog.DiscardHandler))
	if q != nil || l.Handler() != slog.DiscardHandler {
		t.Error("what is discarded is queued before")
	}
	l, _ = Logger(slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)))
	if again, q := Logger(l.With("a", 1)); q != nil || again == nil {
		t.Error("a logger that is handled aside is queued twice")
	}
	if q.Dropped() != 0 || !q.Close(0) {
		t.Error("a nil queue has dropped something or is not done")
	}
}

type slow struct {
	slog.Handler
	hold <-chan struct{}
}

func (s slow) Handle(ctx context.Context, r slog.Record) error {
	<-s.hold
	return s.Handler.Handle(ctx, r)
}

func (s slow) WithAttrs(a []slog.Attr) slog.Handler { return slow{s.Handler.WithAttrs(a), s.hold} }
func (s slow) WithGroup(n string) slog.Handler      { return slow{s.Handler.WithGroup(n), s.hold} }
