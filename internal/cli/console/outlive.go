package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

// MaxWaiting is how many writes wait for a reader.
const MaxWaiting = 1000

// OutliveReaders is for a command that holds something for others: neither who reads its
// messages slowly, nor the end of who read them, stops or ends it.
func OutliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // else a write to nobody ends us
	Stderr.Outlive()
}

// Outlive has a stream neither block nor fail from now on.
func (o *Output) Outlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = &waiting{to: o.to, queue: aside.New(MaxWaiting), tells: o.messages}
		o.to = o.waiting
	}
}

// Raw is the stream for what other programs write, which is not made visible.
func (o *Output) Raw() io.Writer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to
}

// waiting writes one after the other, and lets nobody wait for it. What comes faster than
// it is read, or cannot be written, is lost and counted.
type waiting struct {
	to     io.Writer
	queue  *aside.Queue
	tells  bool                  // in a line between, how many lines are lost
	err    atomic.Pointer[error] // the first
	failed atomic.Uint64
	told   uint64 // how many are lost; only writes that run touch it
}

func (w *waiting) Write(p []byte) (int, error) {
	text := bytes.Clone(p)
	w.queue.Do(func() {
		if lost := w.lost(); w.tells && lost > w.told {
			if _, err := fmt.Fprintf(w.to, "sentinel-peer: %d lines are lost: nobody read them in time\n", lost-w.told); err == nil {
				w.told = lost
			}
		}
		if _, err := w.to.Write(text); err != nil {
			w.failed.Add(1)
			w.err.CompareAndSwap(nil, &err)
		}
	})
	return len(p), nil
}

func (w *waiting) lost() uint64 { return w.queue.Dropped() + w.failed.Load() }

// Lost counts the writes that nobody got, since outlive.
func (o *Output) Lost() uint64 {
	if o.waiting == nil {
		return 0
	}
	return o.waiting.lost()
}

// End waits for what is still to be written, up to a moment, and says whether it is.
func (o *Output) End() bool {
	return o.waiting == nil || o.waiting.queue.Close(aside.Patience)
}

// Delivered is what became of all that was printed since outlive.
func (o *Output) Delivered() error {
	if !o.End() || o.waiting.queue.Dropped() > 0 {
		return errors.New("the output is not complete: nobody reads it")
	}
	if err := o.waiting.err.Load(); err != nil {
		return fmt.Errorf("the output is not complete: %w", *err)
	}
	return nil
}
