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

// itemHead is what an index keeps of it.
type itemHead struct {
	Priority    int
	NotBefore   int64
	MaxAttempts int
}

// value encodes r as crdt.ValueOf does, at a fraction of its cost.
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

// readItem decodes what an index keeps of an item, as Value.Decode does; false if v is
// none.
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

// verdict is what a claim says of its item. Of two with one token the greater counts.
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

// verdictOf reads a verdict; one of a later version is unclaimed.
func verdictOf(state string) verdict { return verdict(max(slices.Index(verdictNames, state), 0)) }

// claimRecord is a claim as it is stored.
type claimRecord struct {
	State     string     `json:"state"`
	Attempt   int        `json:"attempt"`
	Worker    string     `json:"worker"`               // the peer whose lease it is
	TTL       int64      `json:"ttl,omitempty"`        // of its lease, milliseconds
	NotBefore int64      `json:"not_before,omitempty"` // of the next attempt, Unix milliseconds
	Error     string     `json:"error,omitempty"`
	Result    crdt.Value `json:"result"`
}

// claimHead is what an index keeps of it.
type claimHead struct {
	State     string
	Attempt   int
	Worker    string
	TTL       int64
	NotBefore int64
	Error     string
}

// value encodes r as crdt.ValueOf does, at a fraction of its cost.
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

// readClaim decodes what an index keeps of a claim, as Value.Decode does; false if v is
// none.
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

// head returns what an index keeps of r.
func (r *claimRecord) head() claimHead {
	return claimHead{State: r.State, Attempt: r.Attempt, Worker: r.Worker, TTL: r.TTL, NotBefore: r.NotBefore, Error: r.Error}
}

// Setting is what holds for a queue on all peers.
type Setting struct {
	Paused   bool `json:"paused,omitempty"`   // nothing is claimed
	Draining bool `json:"draining,omitempty"` // nothing is enqueued
}
