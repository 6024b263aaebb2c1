package crdt

import (
	"fmt"
	"strconv"
)

// Version identifies the state of one key: equal versions mean equal content,
// on every peer, but for a while where a dot has two contents (see Rival). It is a checksum over the key's live dots, so it has no order.
// 0 is absent.
type Version uint64

// String returns v as 16 hex digits.
func (v Version) String() string { return fmt.Sprintf("%016x", uint64(v)) }

// ParseVersion reads what [Version.String] writes.
func ParseVersion(s string) (Version, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("version %q: want 16 hex digits", s)
	}
	return Version(n), nil
}
