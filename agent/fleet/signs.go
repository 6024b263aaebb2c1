package fleet

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// putSign writes a sign of life of worker id. Without a TTL of its own it gets the
// default one, and is renewed while the worker beats through this peer.
func (f *Fleet) putSign(id string, opts []memory.Option, put func([]memory.Option) error, of form) error {
	own, ttl := timed(opts), f.host.DefaultTTL
	if !own && ttl > 0 {
		opts = append([]memory.Option{func(o *memory.Options) { o.TTL = ttl }}, opts...)
	}
	if err := put(opts); err != nil {
		return err
	}
	if own {
		ttl = 0
	}
	f.host.Memory.Do(func(r *replica.Replica, now time.Time) { r.Sustain(now, of.key(id), id, ttl) })
	return nil
}

// timed reports whether opts set a TTL, none included.
func timed(opts []memory.Option) bool {
	o := memory.Options{TTL: -1}
	for _, f := range opts {
		f(&o)
	}
	return o.TTL != -1
}
