package crdt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// maxAlternatives is the greatest number of globs without braces to which one glob expands.
const maxAlternatives = 64

// Pattern is a compiled glob over keys. '*' stands for any text within one segment, and '?'
// for one character of it. [a-z] and [!a-z] stand for one character of a class, and {a,b}
// for alternatives. '**' as a whole segment stands for any number of segments including
// none, so a/** matches a. A backslash takes the next character literally. A Pattern is
// immutable; the zero Pattern matches nothing.
type Pattern struct {
	glob string
	alts []alternative
}

// alternative is a glob without braces.
type alternative struct {
	glob   string
	prefix string // literal text before the first special character
	mode   matchMode
}

type matchMode uint8

const (
	matchExact matchMode = iota // the glob is its prefix
	matchUnder                  // the glob is its prefix, which is empty or ends in '/', and "**"
	matchGlob                   // any other glob
)

// CompilePattern compiles glob, which has 1 to 1,024 bytes and whose braces expand to at
// most 64 alternatives. The error says what is wrong with the glob. CompilePattern expands
// braces because matching them takes time exponential in their number, and globs come from
// clients that are not trusted.
func CompilePattern(glob string) (Pattern, error) {
	switch {
	case glob == "":
		return Pattern{}, errors.New("pattern is empty; ** matches every key")
	case len(glob) > wire.MaxKeyBytes:
		return Pattern{}, fmt.Errorf("pattern is %d bytes long; at most %d are allowed", len(glob), wire.MaxKeyBytes)
	case !doublestar.ValidatePattern(glob):
		return Pattern{}, fmt.Errorf("pattern %q is malformed: a bracket, brace or backslash is left open", glob)
	}
	plain, err := confineClasses(glob)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{glob: glob}
	for _, g := range expand(nil, plain) {
		p.alts = append(p.alts, newAlternative(g))
	}
	if len(p.alts) > maxAlternatives {
		return Pattern{}, fmt.Errorf("pattern %q has too many alternatives in braces; at most %d are allowed", glob, maxAlternatives)
	}
	return p, nil
}

func newAlternative(glob string) alternative {
	for strings.Contains(glob, "/**/**") { // doublestar handles only one "/**" at the end
		glob = strings.ReplaceAll(glob, "/**/**", "/**")
	}
	a := alternative{glob: glob, prefix: glob}
	if i := strings.IndexAny(glob, `*?[\`); i >= 0 {
		a.prefix, a.mode = glob[:i], matchGlob
		if glob[i:] == "**" && (i == 0 || glob[i-1] == '/') {
			a.mode = matchUnder
		}
	}
	return a
}

// String returns the glob.
func (p Pattern) String() string { return p.glob }

// Prefix returns the literal text with which every matching key starts. It leaves out a
// slash at the end, so a/** gives a, which a/** matches too.
func (p Pattern) Prefix() string {
	if len(p.alts) == 0 {
		return ""
	}
	prefix := p.alts[0].prefix
	for _, a := range p.alts[1:] {
		n := 0
		for n < min(len(prefix), len(a.prefix)) && prefix[n] == a.prefix[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return strings.TrimSuffix(prefix, "/")
}

// Match reports whether key matches. It does not allocate.
func (p Pattern) Match(key string) bool {
	for i := range p.alts {
		if p.alts[i].match(key) {
			return true
		}
	}
	return false
}

func (a *alternative) match(key string) bool {
	switch a.mode {
	case matchExact:
		return key == a.prefix
	case matchUnder:
		return under(key, a.prefix)
	}
	if !strings.HasPrefix(key, a.prefix) {
		return false
	}
	whole := strings.LastIndexByte(a.prefix, '/') + 1 // the segments before this index match already
	return doublestar.MatchUnvalidated(a.glob[whole:], key[whole:])
}

// under reports whether key starts with prefix, or is prefix without its last byte, which
// is a slash. So both a/b and a are under a/.
func under(key, prefix string) bool {
	return strings.HasPrefix(key, prefix) || len(key)+1 == len(prefix) && prefix[:len(key)] == key
}

// expand appends the globs without braces for which glob stands, in order. It stops when
// there are more than maxAlternatives.
func expand(dst []string, glob string) []string {
	start := skipTo(glob, 0, "{")
	if start == len(glob) {
		return append(dst, glob)
	}
	depth, from := 0, start+1
	for i := start; i < len(glob) && len(dst) <= maxAlternatives; i = skipTo(glob, i+1, "{,}") {
		switch c := glob[i]; {
		case c == '{':
			depth++
		case depth > 1 && c == '}':
			depth--
		case depth == 1:
			end := start + 1 + closing(glob[start+1:])
			dst = expand(dst, glob[:start]+glob[from:i]+glob[end+1:])
			if from = i + 1; c == '}' {
				return dst
			}
		}
	}
	return dst
}

// closing returns the index in s of the brace that closes a brace right before s.
func closing(s string) int {
	depth := 1
	for i := skipTo(s, 0, "{}"); i < len(s); i = skipTo(s, i+1, "{}") {
		if s[i] == '{' {
			depth++
		} else if depth--; depth == 0 {
			return i
		}
	}
	return len(s) - 1
}

// skipTo returns the first index, from i on, of a character of chars that is neither
// escaped nor in a class. It returns len(glob) if there is none.
func skipTo(glob string, i int, chars string) int {
	for ; i < len(glob); i++ {
		switch c := glob[i]; {
		case strings.IndexByte(chars, c) >= 0:
			return i
		case c == '\\':
			i++
		case c == '[':
			i = classEnd(glob, i)
		}
	}
	return len(glob)
}

// classEnd returns the index of the bracket that closes the class at i.
func classEnd(glob string, i int) int {
	for i++; i < len(glob) && glob[i] != ']'; i++ {
		if glob[i] == '\\' {
			i++
		}
	}
	return i
}

// confineClasses returns glob with classes that match only within one segment, as '*' and
// '?' do. It makes a negated class such as [!a] exclude the slash, and refuses a class that
// includes one.
func confineClasses(glob string) (string, error) {
	var b strings.Builder
	done := 0
	for i := skipTo(glob, 0, "["); i < len(glob); i = skipTo(glob, i+1, "[") {
		end := classEnd(glob, i)
		class := glob[i : end+1]
		if doublestar.MatchUnvalidated(class, "/") {
			if class[1] != '!' && class[1] != '^' {
				return "", fmt.Errorf("pattern %q: the class %s holds a slash, which separates segments", glob, class)
			}
			b.WriteString(glob[done:i] + "[!/")
			if done = i + 2; class[2] == '-' {
				b.WriteByte('\\') // the hyphen was literal, and must not become a range from the slash
			}
		}
		i = end
	}
	return b.String() + glob[done:], nil
}
