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
	lockPrefix  = "queues/"  // the lease of an item is queues/<queue>/<id>
	itemsPart   = "items"    // <prefix><queue>/items/<id>
	claimsPart  = "claims"   // <prefix><queue>/claims/<id>/<token>
	settingPart = "settings" // <prefix><queue>/settings
)

// Limits of work queues.
const (
	MaxName  = 64             // bytes of a queue's name
	MaxID    = 128            // bytes of an item's id
	MaxDelay = 24 * time.Hour // of an item, and of a retry
)

// ItemKey returns the key of an item.
func ItemKey(queue, id string) string { return keyPrefix + queue + "/" + itemsPart + "/" + id }

// ClaimKey returns the key of what the claim with a token says of an item.
func ClaimKey(queue, id string, token uint64) string {
	return keyPrefix + queue + "/" + claimsPart + "/" + id + "/" + strconv.FormatUint(token, 10)
}

// SettingKey returns the key of what holds for a whole queue.
func SettingKey(queue string) string { return keyPrefix + queue + "/" + settingPart }

// Lock returns the name of an item's lease.
func Lock(queue, id string) string { return lockPrefix + queue + "/" + id }

// ParseLock reads what Lock returns.
func ParseLock(lock string) (queue, id string, ok bool) {
	rest, ok := strings.CutPrefix(lock, lockPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// Key is a key of a work queue. Token is zero but for claims.
type Key struct {
	Queue, ID string
	part      string
	token     uint64
}

// ParseKey reads what ItemKey, ClaimKey and SettingKey return. It allocates nothing.
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

// CheckName says whether name may be a queue's, CheckID whether id may be an item's: a
// segment of a key and a part of a lock's name. Else they return a *crdt.KeyError.
func CheckName(name string) error { return check("queue", name, MaxName) }

// CheckID is for an item what CheckName is for a queue.
func CheckID(id string) error { return check("item", id, MaxID) }

func check(what, name string, most int) error {
	if name == "" || len(name) > most || strings.ContainsAny(name, "/#") || crdt.ValidateKey(name) != nil {
		return &crdt.KeyError{Key: name, Reason: fmt.Sprintf("is no %s's name: want 1 to %d bytes of text without '/', '#' or control characters", what, most)}
	}
	return nil
}
