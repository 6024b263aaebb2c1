package queue

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// itemRecord is an item as it is stored.
type itemRecord struct {
	Value       crdt.Value `json:"value"`
	Priority    int        `json:"priority,omitempty"`
	NotBefore   int64      `json:"not_before,omitempty"` // Unix milliseconds
	MaxAttempts int        `json:"max_attempts,omitempty"`
}

// itemHead is the part of an itemRecord that an index keeps in memory: not the value.
type itemHead struct {
	Priority    int
	NotBefore   int64
	MaxAttempts int
}

// value encodes r as crdt.ValueOf does, in a quarter of its time (docs/decisions/0034).
func (r *itemRecord) value() (crdt.Value, error) {
	b := make([]byte, 0, 64+len(r.Value.Raw()))
	b = wire.AppendMap(b, 1+present(r.MaxAttempts != 0)+present(r.NotBefore != 0)+present(r.Priority != 0))
	if r.MaxAttempts != 0 {
		b = wire.AppendInt(wire.AppendStr(b, "max_attempts"), int64(r.MaxAttempts))
	}
	if r.NotBefore != 0 {
		b = wire.AppendInt(wire.AppendStr(b, "not_before"), r.NotBefore)
	}
	if r.Priority != 0 {
		b = wire.AppendInt(wire.AppendStr(b, "priority"), int64(r.Priority))
	}
	return crdt.RawValue(appendValue(wire.AppendStr(b, "value"), r.Value))
}

// readItem decodes the head of an item by hand; false if v is no item. It takes a quarter of the time
// of the msgpack library (docs/decisions/0034).
func readItem(v crdt.Value) (i itemHead, ok bool) {
	r := wire.NewReader([]byte(v.Raw()))
	for n := r.MapLen(); n > 0; n-- {
		switch string(r.Str()) {
		case "priority":
			i.Priority = int(r.Int())
		case "not_before":
			i.NotBefore = r.Int()
		case "max_attempts":
			i.MaxAttempts = int(r.Int())
		default:
			r.Skip()
		}
	}
	return i, r.Err() == nil
}

// appendValue appends v, nil if it is absent.
func appendValue(b []byte, v crdt.Value) []byte {
	if v.IsZero() {
		return wire.AppendNil(b)
	}
	return append(b, v.Raw()...)
}

// verdict is what the record of a claim says of its item. Of two verdicts under one token the
// greater counts (Q2), in the order of the constants.
type verdict uint8

const (
	unclaimed verdict = iota
	claimed
	failed
	dead
	requeued
	done
)

var verdictNames = []string{"", "claimed", "failed", "dead", "requeued", "done"}

func (v verdict) String() string { return verdictNames[v] }

// verdictOf returns the verdict with a name; an unknown name, of a later version, is unclaimed.
func verdictOf(state string) verdict { return verdict(max(slices.Index(verdictNames, state), 0)) }

// claimRecord is a claim as it is stored.
type claimRecord struct {
	State     string     `json:"state"`
	Attempt   int        `json:"attempt"`
	Worker    string     `json:"worker"`               // name of the peer that holds the lease
	TTL       int64      `json:"ttl,omitempty"`        // TTL of the lease in milliseconds
	NotBefore int64      `json:"not_before,omitempty"` // earliest time of the next attempt, Unix milliseconds
	Error     string     `json:"error,omitempty"`
	Result    crdt.Value `json:"result"`
}

// claimHead is the part of a claimRecord that an index keeps in memory: not the result.
type claimHead struct {
	State     string
	Attempt   int
	Worker    string
	TTL       int64
	NotBefore int64
	Error     string
}

// value encodes r as crdt.ValueOf does, in a quarter of its time (docs/decisions/0034).
func (r *claimRecord) value() (crdt.Value, error) {
	b := make([]byte, 0, 128+len(r.Error)+len(r.Result.Raw()))
	b = wire.AppendMap(b, 4+present(r.TTL != 0)+present(r.NotBefore != 0)+present(r.Error != ""))
	b = wire.AppendInt(wire.AppendStr(b, "attempt"), int64(r.Attempt))
	if r.Error != "" {
		b = wire.AppendStr(wire.AppendStr(b, "error"), r.Error)
	}
	if r.NotBefore != 0 {
		b = wire.AppendInt(wire.AppendStr(b, "not_before"), r.NotBefore)
	}
	b = appendValue(wire.AppendStr(b, "result"), r.Result)
	b = wire.AppendStr(wire.AppendStr(b, "state"), r.State)
	if r.TTL != 0 {
		b = wire.AppendInt(wire.AppendStr(b, "ttl"), r.TTL)
	}
	b = wire.AppendStr(wire.AppendStr(b, "worker"), r.Worker)
	return crdt.RawValue(b)
}

func present(is bool) int {
	if is {
		return 1
	}
	return 0
}

// readClaim decodes the head of a claim by hand, as readItem does; false if v is no claim.
func readClaim(v crdt.Value) (c claimHead, ok bool) {
	r := wire.NewReader([]byte(v.Raw()))
	for n := r.MapLen(); n > 0; n-- {
		switch string(r.Str()) {
		case "state":
			c.State = verdictOf(string(r.Str())).String()
		case "attempt":
			c.Attempt = int(r.Int())
		case "worker":
			c.Worker = string(r.Str())
		case "ttl":
			c.TTL = r.Int()
		case "not_before":
			c.NotBefore = r.Int()
		case "error":
			c.Error = string(r.Str())
		default:
			r.Skip()
		}
	}
	return c, r.Err() == nil && c.State != ""
}

// head returns the part of r that an index keeps.
func (r *claimRecord) head() claimHead {
	return claimHead{State: r.State, Attempt: r.Attempt, Worker: r.Worker, TTL: r.TTL, NotBefore: r.NotBefore, Error: r.Error}
}

// Setting is a queue's setting, which holds on all peers.
type Setting struct {
	Paused   bool `json:"paused,omitempty"`   // no item is claimed
	Draining bool `json:"draining,omitempty"` // no item is enqueued
}
