package crdt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// KeyError reports a key that is not allowed.
type KeyError struct {
	Key    string
	Reason string // what was wrong, and what is allowed
}

// Error names the key and the reason.
func (e *KeyError) Error() string {
	key := e.Key
	if len(key) > 80 {
		key = key[:80] + "…"
	}
	return fmt.Sprintf("key %q: %s", key, e.Reason)
}

// ValidateKey returns nil or a *KeyError. A key is 1 to 1,024 bytes of UTF-8
// without control characters: segments separated by '/', none empty, "." or "..".
func ValidateKey(key string) error {
	switch {
	case key == "":
		return &KeyError{key, "is empty"}
	case len(key) > wire.MaxKeyBytes:
		return &KeyError{key, fmt.Sprintf("is %d bytes long; at most %d are allowed", len(key), wire.MaxKeyBytes)}
	}
	segment := 0 // where the current segment starts
	for i := 0; i <= len(key); i++ {
		if i < len(key) {
			c := key[i]
			if c < 0x20 || c == 0x7f {
				return &KeyError{key, "holds a control character"}
			}
			if c >= utf8.RuneSelf {
				return validateUnicodeKey(key)
			}
			if c != '/' {
				continue
			}
		}
		if err := validateSegment(key, key[segment:i]); err != nil {
			return err
		}
		segment = i + 1
	}
	return nil
}

func validateUnicodeKey(key string) error {
	if !utf8.ValidString(key) {
		return &KeyError{key, "is not valid UTF-8"}
	}
	if strings.ContainsFunc(key, unicode.IsControl) {
		return &KeyError{key, "holds a control character"}
	}
	for s := range strings.SplitSeq(key, "/") {
		if err := validateSegment(key, s); err != nil {
			return err
		}
	}
	return nil
}

func validateSegment(key, s string) error {
	switch s {
	case "":
		return &KeyError{key, "has an empty segment; segments are separated by single slashes, with none at the ends"}
	case ".", "..":
		return &KeyError{key, `has a segment "` + s + `"; keys are names, not paths`}
	}
	return nil
}
