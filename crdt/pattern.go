package crdt

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Pattern is a compiled glob over keys: '*' stands for anything within one
// segment, '**' for any number of segments, '?', '[a-z]' and '{a,b}' as in a
// shell. The zero Pattern matches nothing.
type Pattern struct {
	glob   string
	prefix string // literal text before the first special character
	mode   uint8
}

const (
	matchNothing uint8 = iota
	matchExact         // no special character
	matchUnder         // prefix, then "**"
	matchGlob
)

// CompilePattern compiles glob, at most 1 KiB. An empty glob is refused.
func CompilePattern(glob string) (Pattern, error) {
	switch {
	case glob == "":
		return Pattern{}, fmt.Errorf("pattern is empty; ** matches every key")
	case len(glob) > wire.MaxKeyBytes:
		return Pattern{}, fmt.Errorf("pattern is %d bytes long; at most %d are allowed", len(glob), wire.MaxKeyBytes)
	case !doublestar.ValidatePattern(glob):
		return Pattern{}, fmt.Errorf("pattern %q is malformed: unbalanced brackets, braces or escapes", glob)
	}
	p := Pattern{glob: glob, prefix: glob, mode: matchExact}
	if i := strings.IndexAny(glob, `*?[{\`); i >= 0 {
		p.prefix, p.mode = glob[:i], matchGlob
		if glob[i:] == "**" && (i == 0 || glob[i-1] == '/') {
			p.mode = matchUnder
		}
	}
	return p, nil
}

// String returns the glob.
func (p Pattern) String() string { return p.glob }

// Prefix returns the literal text every matching key starts with.
func (p Pattern) Prefix() string { return strings.TrimSuffix(p.prefix, "/") }

// Match reports whether key matches.
func (p Pattern) Match(key string) bool {
	switch p.mode {
	case matchExact:
		return key == p.glob
	case matchUnder:
		// a/** matches a itself too, as in a shell.
		return strings.HasPrefix(key, p.prefix) || key+"/" == p.prefix
	case matchGlob:
		return strings.HasPrefix(key, p.Prefix()) && doublestar.MatchUnvalidated(p.glob, key)
	}
	return false
}
