package queue

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

const (
	keyPrefix   = keyspace.Queues
	lockPrefix  = "queues/"  // the lock of an item is queues/<queue>/<id>
	itemsPart   = "items"    // the key of an item is <keyPrefix><queue>/items/<id>
	claimsPart  = "claims"   // the key of a claim is <keyPrefix><queue>/claims/<id>/<token>
	settingPart = "settings" // the key of the setting is <keyPrefix><queue>/settings
)

// Limits of work queues.
const (
	MaxName  = 64             // bytes of a queue's name
	MaxID    = 128            // bytes of an item's id
	MaxDelay = 24 * time.Hour // longest delay of an item or of its next attempt
)

// ItemKey returns the key of an item.
func ItemKey(queue, id string) string { return keyPrefix + queue + "/" + itemsPart + "/" + id }

// ClaimKey returns the key of the claim of an item under a fencing token.
func ClaimKey(queue, id string, token uint64) string {
	return keyPrefix + queue + "/" + claimsPart + "/" + id + "/" + strconv.FormatUint(token, 10)
}

// Prefixes returns what the keys of a queue's items, and those of its claims, start with. An id
// follows it.
func Prefixes(queue string) (items, claims string) {
	return ItemKey(queue, ""), keyPrefix + queue + "/" + claimsPart + "/"
}

// SettingKey returns the key of a queue's Setting.
func SettingKey(queue string) string { return keyPrefix + queue + "/" + settingPart }

// Lock returns the name of the lock that a claim of an item holds.
func Lock(queue, id string) string { return lockPrefix + queue + "/" + id }

// ParseLock reads what Lock returns; ok is false for the name of any other lock.
func ParseLock(lock string) (queue, id string, ok bool) {
	rest, ok := strings.CutPrefix(lock, lockPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// Key is a parsed key of a work queue.
type Key struct {
	Queue, ID string
	part      string // itemsPart, claimsPart or settingPart
	token     uint64 // set only for claims
}

// ParseKey reads what ItemKey, ClaimKey and SettingKey return; ok is false for any other key. It
// allocates nothing.
func ParseKey(key string) (k Key, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return k, false
	}
	k.Queue, rest, _ = strings.Cut(rest, "/")
	k.part, rest, _ = strings.Cut(rest, "/")
	var token string
	k.ID, token, _ = strings.Cut(rest, "/")
	switch k.part {
	case settingPart:
		return k, k.ID == ""
	case itemsPart:
		return k, k.ID != "" && token == ""
	case claimsPart:
		var err error
		k.token, err = strconv.ParseUint(token, 10, 64)
		return k, err == nil && k.ID != ""
	}
	return k, false
}

// CheckName returns a *crdt.KeyError if name may not be the name of a queue. A name must be a
// segment of a key and a part of a lock's name.
func CheckName(name string) error { return check("queue", name, MaxName) }

// CheckID returns a *crdt.KeyError if id may not be the id of an item, by the rules of CheckName.
func CheckID(id string) error { return check("item", id, MaxID) }

func check(what, name string, most int) error {
	if name == "" || len(name) > most || strings.ContainsAny(name, "/#") || crdt.ValidateKey(name) != nil {
		return &crdt.KeyError{Key: name, Reason: fmt.Sprintf("is no %s's name: want 1 to %d bytes of text without '/', '#' or control characters", what, most)}
	}
	return nil
}
