package crdt

import (
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// ValueError reports a value that cannot be stored; its Reason says what was wrong and
// what is allowed.
type ValueError = wire.ValueError

// TypeError reports an operation that needs a key of one kind, on a key of another kind.
// The caller can delete the key first, or use another key.
type TypeError struct {
	Key  string
	Want Kind   // kind that the operation needs
	Have Kind   // kind that the key has, or that its rule demands
	Rule string // pattern of the rule that demands Have, "" if the key's content decided
}

// Error names the key, both kinds and the rule.
func (e *TypeError) Error() string {
	reason := "it holds "
	if e.Rule != "" {
		reason = fmt.Sprintf("the rule %q makes it ", e.Rule)
	}
	return fmt.Sprintf("key %q: the operation is for %s, but %s%s", e.Key, withArticle(e.Want), reason, withArticle(e.Have))
}

func withArticle(k Kind) string {
	if k == Object {
		return "an object"
	}
	return "a " + k.String()
}

// OrderError refuses a batch that checks the version of a key after an earlier operation
// of the batch has written the key: the caller cannot know a version that exists only
// inside the batch.
type OrderError struct{ Key string }

// Error names the key and the order that is allowed.
func (e *OrderError) Error() string {
	return fmt.Sprintf("key %q: a version check must come before the batch's writes of that key", e.Key)
}

// OpError says which operation of a batch is refused.
type OpError struct {
	Index int // from 0
	Err   error
}

// Error names the operation and gives Err.
func (e *OpError) Error() string { return fmt.Sprintf("operations[%d]: %v", e.Index, e.Err) }

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// ConflictError reports an optimistic write for a version that is not the current one. The
// caller should read the key again, decide again, and retry with the version it read.
type ConflictError struct {
	Key        string
	Want, Have Version // 0 is absent
}

// Error names the key and both versions.
func (e *ConflictError) Error() string {
	switch {
	case e.Want == 0:
		return fmt.Sprintf("key %q exists with version %s; the write was for an absent key", e.Key, e.Have)
	case e.Have == 0:
		return fmt.Sprintf("key %q is absent; the write was for version %s", e.Key, e.Want)
	}
	return fmt.Sprintf("key %q has version %s; the write was for %s", e.Key, e.Have, e.Want)
}
