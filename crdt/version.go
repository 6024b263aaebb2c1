package crdt

import (
	"fmt"
	"strconv"
)

// Version identifies the content of one key. Equal versions mean equal content on every
// peer, except while a dot has two contents (see [Rival]). A Version is a checksum over the
// dots of the key's content, so versions have no order. 0 stands for an absent key.
type Version uint64

// String returns v as 16 hex digits.
func (v Version) String() string { return fmt.Sprintf("%016x", uint64(v)) }

// ParseVersion parses the 16 hex digits that [Version.String] returns.
func ParseVersion(s string) (Version, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("version %q: want 16 hex digits", s)
	}
	return Version(n), nil
}
