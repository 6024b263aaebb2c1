package queue

import (
	"slices"

	"github.com/sentinel-peer/sentinel-peer/crdt"
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
	Priority    int   `json:"priority"`
	NotBefore   int64 `json:"not_before"`
	MaxAttempts int   `json:"max_attempts"`
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
	State     string `json:"state"`
	Attempt   int    `json:"attempt"`
	Worker    string `json:"worker"`
	TTL       int64  `json:"ttl"`
	NotBefore int64  `json:"not_before"`
	Error     string `json:"error"`
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
