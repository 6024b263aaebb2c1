package fleet

import (
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// putExpiring calls put to write the status or the capacity of worker id, at the key of form of.
// Without a TTL in opts the record gets Host.DefaultTTL, and is renewed while the worker beats through
// this peer.
func (f *Fleet) putExpiring(id string, opts []memory.Option, put func([]memory.Option) error, of form) error {
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

// timed reports whether opts set a TTL, be it 0 for none.
func timed(opts []memory.Option) bool {
	o := memory.Options{TTL: -1}
	for _, f := range opts {
		f(&o)
	}
	return o.TTL != -1
}
