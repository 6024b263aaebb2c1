package crdt

import "fmt"

// TypeError reports an operation of one kind on a key of another.
type TypeError struct {
	Key  string
	Want Kind   // what the operation needs
	Have Kind   // what the key is, or its rule demands
	Rule string // pattern of the rule that decided, "" if the key's content did
}

// Error names the key and both kinds.
func (e *TypeError) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("key %q: a %s operation, but the rule %q makes it a %s", e.Key, e.Want, e.Rule, e.Have)
	}
	return fmt.Sprintf("key %q: a %s operation, but it holds a %s", e.Key, e.Want, e.Have)
}

// ConflictError reports an optimistic write against a version that is not the
// current one. Read again, merge, and retry with Have.
type ConflictError struct {
	Key        string
	Want, Have Version // 0 means absent
}

// Error names the key and both versions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("key %q: the version is %s, not %s", e.Key, e.Have, e.Want)
}
