package agent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// The keys of a work queue. An item is written once, by who enqueues it. Each claim has
// a key of its own, named by its token, which only its holder writes; what holds of an
// item is what the claim with the greatest token says, on every peer.
const (
	queuePrefix = "task-sentinel/queues/"
	itemsPart   = "items"    // <prefix><queue>/items/<id>
	claimsPart  = "claims"   // <prefix><queue>/claims/<id>/<token>
	settingPart = "settings" // <prefix><queue>/settings
	lockPrefix  = "queues/"  // the lease of an item is queues/<queue>/<id>
)

// Limits of work queues.
const (
	MaxQueueName  = 64             // bytes of a queue's name
	MaxItemID     = 128            // bytes of an item's id
	MaxItemDelay  = 24 * time.Hour // of an item, and of a retry
	MaxClaimBatch = 256            // items of one claim
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

func (v verdict) MarshalText() ([]byte, error) { return []byte(verdictNames[v]), nil }

func (v *verdict) UnmarshalText(b []byte) error {
	for i, name := range verdictNames {
		if name == string(b) {
			*v = verdict(i)
			return nil
		}
	}
	return fmt.Errorf("claim with the state %q", b)
}

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

func itemKey(queue, id string) string { return queuePrefix + queue + "/" + itemsPart + "/" + id }

func claimKey(queue, id string, token uint64) string {
	return queuePrefix + queue + "/" + claimsPart + "/" + id + "/" + strconv.FormatUint(token, 10)
}

func settingsKey(queue string) string { return queuePrefix + queue + "/" + settingPart }

func itemLock(queue, id string) string { return lockPrefix + queue + "/" + id }

// workKey is what a key of a work queue names. Token is zero but for claims.
type workKey struct {
	queue, part, id string
	token           uint64
}

// parseWorkKey reads what the functions above write. It allocates nothing.
func parseWorkKey(key string) (k workKey, ok bool) {
	rest, ok := strings.CutPrefix(key, queuePrefix)
	if !ok {
		return k, false
	}
	k.queue, rest, _ = strings.Cut(rest, "/")
	k.part, rest, _ = strings.Cut(rest, "/")
	var token string
	k.id, token, _ = strings.Cut(rest, "/")
	switch k.part {
	case settingPart:
		return k, k.id == ""
	case itemsPart:
		return k, k.id != "" && token == ""
	case claimsPart:
		var err error
		k.token, err = strconv.ParseUint(token, 10, 64)
		return k, err == nil && k.id != ""
	}
	return k, false
}

// parseItemLock reads the name of an item's lease.
func parseItemLock(lock string) (queue, id string, ok bool) {
	rest, ok := strings.CutPrefix(lock, lockPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// checkQueueName and checkItemID say what may be a name: a segment of a key and a part
// of a lock's name.
func checkQueueName(name string) error { return checkName("queue", name, MaxQueueName) }

func checkItemID(id string) error { return checkName("item", id, MaxItemID) }

func checkName(what, name string, most int) error {
	if name == "" || len(name) > most || strings.ContainsAny(name, "/#") || crdt.ValidateKey(name) != nil {
		return &crdt.KeyError{Key: name, Reason: fmt.Sprintf("is no name of a %s: want 1 to %d bytes of text without '/', '#' or control characters", what, most)}
	}
	return nil
}
