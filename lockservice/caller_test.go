package lockservice

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// reporter is a log handler that calls a function.
type reporter struct{ f func(message string) }

func (r reporter) Enabled(context.Context, slog.Level) bool { return true }
func (r reporter) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r reporter) WithGroup(string) slog.Handler            { return r }
func (r reporter) Handle(_ context.Context, record slog.Record) error {
	r.f(record.Message)
	return nil
}

// A function of the caller that a session calls may itself call the session.
func TestLostAndTheLogHandlerMayCallTheSession(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		var s *Session
		heard := make(chan string, 100)
		ask := func(what string) {
			s.Stats()
			if l, err := s.Lock(context.Background(), "another"); err == nil {
				_ = l.Unlock(context.Background())
			}
			heard <- what
		}
		s = w.open("a", []string{"a"}, func(c *SessionConfig) {
			c.Lost = func(e *LostError) { ask(e.Lock) }
			c.Logger = slog.New(reporter{ask})
		})
		s.Receive("b", []byte{0xc1})
		if got := <-heard; got != "lock packet refused" {
			t.Errorf("the log says %q", got)
		}
		mustLock(t, s, "x", WithTTL(LeastTTL), WithBearer())
		if got := <-heard; got != "x" {
			t.Errorf("lost: %q", got)
		}
	})
}

// A Lost function or a log handler that does not return delays no lease. Close waits one
// second for each.
func TestLostAndALogHandlerThatBlockHoldUpNothing(t *testing.T) {
	within(t, func(t *testing.T, w *twin) {
		hold := make(chan struct{})
		defer func() {
			close(hold)
			synctest.Wait()
		}()
		s := w.open("a", []string{"a"}, func(c *SessionConfig) {
			c.Lost = func(*LostError) { <-hold }
			c.Logger = slog.New(reporter{func(string) { <-hold }})
		})
		kept := mustLock(t, s, "kept", WithTTL(LeastTTL))
		for range 3 {
			s.Receive("b", []byte{0xc1})
			mustLock(t, s, "x", WithTTL(LeastTTL), WithBearer())
			time.Sleep(10 * time.Second)
		}
		if kept.Err() != nil || s.Stats().Lapsed != 3 {
			t.Errorf("the lease: %v, %d have lapsed", kept.Err(), s.Stats().Lapsed)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the test never unlocks these leases
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 4*time.Second || !errors.Is(kept.Err(), ErrClosed) {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}
