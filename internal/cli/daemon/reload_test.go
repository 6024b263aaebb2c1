package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

func TestAReloadThatHangsKeepsNobodyFromStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		hold := make(chan struct{})
		// The reload refuses the folder as a key file, and hangs when it records that.
		r := &reloader{keyFile: t.TempDir(), log: slog.New(slog.NewTextHandler(&log, nil)), done: func(string, error) { <-hold }}
		again := make(chan os.Signal)
		ended := make(chan struct{})
		go func() { r.serve(ctx, again, nil); close(ended) }()
		for range 3 { // the first is under way, the second waits
			again <- syscall.SIGHUP
			time.Sleep(time.Second) // virtual time, until every goroutine waits
		}
		if !strings.Contains(log.String(), "a signal to reload is dropped") {
			t.Errorf("nobody is told: %q", &log)
		}
		stop()
		began := time.Now()
		<-ended
		if time.Since(began) > aside.Patience {
			t.Errorf("stopped after %v", time.Since(began))
		}
		close(hold)
	})
}

func TestTheDaemonStopsAlthoughADiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		hold := make(chan struct{})
		d := daemon{drain: 3 * time.Second}
		time.AfterFunc(time.Hour, stop)
		began := time.Now()
		err := d.within(ctx, func() error { <-hold; return nil })
		if took := time.Since(began) - time.Hour; err == nil || took != d.drain+aside.Patience {
			t.Errorf("%v after %v", err, took)
		}
		close(hold)
		want := errors.New("in order")
		if err := d.within(ctx, func() error { time.Sleep(d.drain); return want }); err != want {
			t.Error(err)
		}
	})
}

func TestWhoLacksTheSealingKeyIsNamed(t *testing.T) {
	got := deaf([]agent.Member{
		{Name: "n1", Self: true, State: "alive", Keys: []string{"new", "old"}}, {Name: "n2", State: "alive", Keys: []string{"old"}},
		{Name: "n3", State: "alive", Keys: []string{"old", "new"}}, {Name: "n4", State: "dead", Keys: []string{"old"}},
	})
	if !slices.Equal(got, []string{"n2"}) {
		t.Error(got)
	}
}
