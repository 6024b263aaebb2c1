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

// MaxWaiting is how many writes wait for a slow reader; further ones are lost.
const MaxWaiting = 1000

// OutliveReaders is for a command that holds something for others, such as a lock. A slow or
// absent reader of its messages then neither stops nor ends it.
func OutliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // else a write to a closed pipe ends the process
	Stderr.Outlive()
}

// Outlive makes writes to a stream neither block nor fail from now on.
func (o *Output) Outlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = &waiting{to: o.to, queue: aside.New(MaxWaiting), tells: o.messages}
		o.to = o.waiting
	}
}

// Raw returns the stream for the output of other programs, which is passed on unchanged.
func (o *Output) Raw() io.Writer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to
}

// waiting passes writes on one after the other, without making the writer wait. Writes that
// come faster than they are read, or that fail, are lost and counted.
type waiting struct {
	to     io.Writer
	queue  *aside.Queue
	tells  bool                  // a line says how many lines are lost, once writing works again
	err    atomic.Pointer[error] // the first failure
	failed atomic.Uint64         // the number of failures
	told   uint64                // how many lost lines were reported; used by the queue's goroutine only
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

// Lost returns how many writes were lost since Outlive.
func (o *Output) Lost() uint64 {
	if o.waiting == nil {
		return 0
	}
	return o.waiting.lost()
}

// End waits for the remaining writes, at most aside.Patience, and reports whether all are done.
func (o *Output) End() bool {
	return o.waiting == nil || o.waiting.queue.Close(aside.Patience)
}

// Delivered returns why a part of the output since Outlive was lost, nil if nothing was.
func (o *Output) Delivered() error {
	if !o.End() || o.waiting.queue.Dropped() > 0 {
		return errors.New("the output is not complete: nobody reads it")
	}
	if err := o.waiting.err.Load(); err != nil {
		return fmt.Errorf("the output is not complete: %w", *err)
	}
	return nil
}
