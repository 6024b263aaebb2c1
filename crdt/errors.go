package crdt

import "fmt"

// TypeError reports an operation of one kind on a key of another. Delete the key
// first, or use another one.
type TypeError struct {
	Key  string
	Want Kind   // what the operation needs
	Have Kind   // what the key is, or its rule demands
	Rule string // pattern of the rule that decided, "" if the key's content did
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

// OrderError refuses a unit in which the version of a key is to be checked after an
// operation on it: what it has then is no version that anybody could know.
type OrderError struct{ Key string }

// Error names the key and what to do.
func (e *OrderError) Error() string {
	return fmt.Sprintf("key %q: a version check must come before the batch's writes of that key", e.Key)
}

// OpError says which operation of a unit is refused.
type OpError struct {
	Index int // from 0
	Err   error
}

// Error names the operation and what is wrong with it.
func (e *OpError) Error() string { return fmt.Sprintf("operations[%d]: %v", e.Index, e.Err) }

// Unwrap returns what is wrong with it.
func (e *OpError) Unwrap() error { return e.Err }

// ConflictError reports an optimistic write against a version that is not the
// current one. Read again, decide again, and retry with Have.
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
