package crdt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// KeyError reports a key, or a path inside an object, that is not allowed.
type KeyError struct {
	Key    string
	Reason string // the fault, and what is allowed
}

// Error gives the first 80 bytes of the key, and the reason.
func (e *KeyError) Error() string {
	key := e.Key
	if len(key) > 80 {
		key = key[:80] + "…"
	}
	return fmt.Sprintf("key %q %s", key, e.Reason)
}

const keyForm = "; a key is one or more names with single slashes between them, such as tasks/42/state"

// ValidateKey returns nil if key is allowed, else a *KeyError. A key is 1 to 1,024 bytes of
// UTF-8 without control characters. It consists of segments with single slashes between
// them. No segment may be empty, "." or "..", because HTTP servers redirect a URL with such
// a segment to another one, which names another key.
func ValidateKey(key string) error {
	switch {
	case key == "":
		return &KeyError{key, "is empty" + keyForm}
	case len(key) > wire.MaxKeyBytes:
		return &KeyError{key, fmt.Sprintf("is %d bytes long; at most %d are allowed", len(key), wire.MaxKeyBytes)}
	case !utf8.ValidString(key):
		return &KeyError{key, "is not UTF-8; encode binary names as text, such as hex"}
	case strings.ContainsFunc(key, unicode.IsControl):
		return &KeyError{key, "has a control character; names are printable text"}
	}
	for rest, more := key, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch segment {
		case "":
			return &KeyError{key, "has an empty segment" + keyForm}
		case ".", "..":
			return &KeyError{key, "has the segment " + segment + keyForm}
		}
	}
	return nil
}
